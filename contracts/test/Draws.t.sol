// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bits} from "../src/libraries/Bits.sol";
import {Draws} from "../src/libraries/Draws.sol";
import {NONFINITE, Sealing} from "../src/libraries/Sealing.sol";
import {Stage} from "../src/types/Types.sol";
import {Assertions} from "./support/Assertions.sol";

/// @notice Chance, sets and hashes: pure functions against their definitions.
contract DrawsTest is Assertions {
    function testFuzz_perm_isAPermutation(bytes32 seed, uint256 size) public pure {
        uint256 n = clamp(size, 1, 300);
        bool[] memory seen = new bool[](n);
        for (uint256 i = 0; i < n; ++i) {
            uint256 x = Draws.perm(seed, i, n);
            assertTrue(x < n && !seen[x], "every value once");
            seen[x] = true;
        }
    }

    /// @notice Against the definition, with abi.encode instead of scratch memory.
    function testFuzz_perm_followsTheDefinition(bytes32 seed, uint256 index, uint256 size) public pure {
        uint256 n = clamp(size, 1, 65_535);
        uint256 i = clamp(index, 0, n - 1);
        uint256 k = 1;
        while (4 ** k < n) ++k;
        uint256 x = i;
        do {
            (uint256 left, uint256 right) = (x >> k, x % 2 ** k);
            for (uint256 r = 0; r < 4; ++r) {
                (left, right) = (right, left ^ (uint256(keccak256(abi.encode(seed, r, right))) % 2 ** k));
            }
            x = (left << k) | right;
        } while (x >= n);
        assertEq(Draws.perm(seed, i, n), x, "perm");
    }

    function testFuzz_perm_ofOne_isZero(bytes32 seed) public pure {
        assertEq(Draws.perm(seed, 0, 1), 0, "perm");
    }

    function testFuzz_seedOf_separatesPurposesAndQuestions(bytes32 beacon, uint256 q) public pure {
        assertTrue(
            Draws.seedOf(beacon, Stage.Panel, q) != Draws.seedOf(beacon, Stage.UpdatePanel, q)
                && Draws.seedOf(beacon, Stage.Panel, q) != Draws.seedOf(beacon, Stage.Panel, q ^ 1),
            "two draws share a seed"
        );
        assertEq(Draws.seedOf(beacon, Stage.Panel, q), keccak256(abi.encode(beacon, uint256(3), q)), "seedOf");
    }

    function testFuzz_sets_countWhatTheyHold(uint256 set, uint8 i) public pure {
        uint256 wanted = 0;
        for (uint256 j = 0; j < 256; ++j) {
            wanted += (set >> j) & 1;
        }
        assertEq(Bits.count(set), wanted, "count");
        assertTrue(Bits.has(Bits.with(set, i), i) && !Bits.has(Bits.without(set, i), i), "with, without");
    }

    function test_nonFinite_isItsHash() public pure {
        assertEq(NONFINITE, sha256("gradproof/exact-1/NONFINITE"), "NONFINITE");
    }

    function testFuzz_outcome_hasACidExactlyWhenFinite(bytes32 root, bytes32 cid) public pure {
        assertTrue(!Sealing.isWellFormed(0, cid), "no root");
        assertTrue(!Sealing.isWellFormed(NONFINITE, cid) || cid == 0, "a CID of nothing");
        assertTrue(Sealing.isWellFormed(NONFINITE, 0), "NONFINITE");
        if (root != 0 && root != NONFINITE) assertTrue(!Sealing.isWellFormed(root, 0), "no CID");
    }
}
