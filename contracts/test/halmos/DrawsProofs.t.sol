// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bits} from "../../src/libraries/Bits.sol";
import {Draws} from "../../src/libraries/Draws.sol";

interface Assuming {
    function assume(bool condition) external;
}

/// @notice Draws are permutations, whatever the seed and whatever the hash function. Run by `make halmos`.
/// @dev halmos takes keccak256 for any function at all, so that the result rests on the network's shape alone. Proven
/// where the network fits, n = 4 and n = 16; walking it until it falls below a smaller n is tried in Draws.t.sol.
contract DrawsProofs {
    Assuming private constant vm = Assuming(address(uint160(uint256(keccak256("hevm cheat code")))));

    function check_perm_ofFour(bytes32 seed, uint8 i, uint8 j) public {
        _isPermutation(seed, i, j, 4);
    }

    function check_perm_ofSixteen(bytes32 seed, uint8 i, uint8 j) public {
        _isPermutation(seed, i, j, 16);
    }

    /// @dev Different numbers below n have different images below n: on a finite set that is a permutation.
    function _isPermutation(bytes32 seed, uint8 i, uint8 j, uint256 n) private {
        vm.assume(i < n && j < n && i != j);
        uint256 x = Draws.perm(seed, i, n);
        assert(x < n);
        assert(x != Draws.perm(seed, j, n));
    }

    /// @notice Sets remember what was put in and nothing else.
    function check_sets(uint256 set, uint8 i, uint8 j) public pure {
        assert(Bits.has(Bits.with(set, i), i));
        assert(!Bits.has(Bits.without(set, i), i));
        if (i != j) {
            assert(Bits.has(Bits.with(set, i), j) == Bits.has(set, j));
            assert(Bits.has(Bits.without(set, i), j) == Bits.has(set, j));
        }
    }

    /// @notice The size of a set is the number of its members, in the lowest 16 places; Draws.t.sol tries the others.
    function check_count(uint16 members) public pure {
        uint256 n = 0;
        for (uint256 i = 0; i < 16; ++i) {
            n += (members >> i) & 1;
        }
        assert(Bits.count(members) == n);
    }
}
