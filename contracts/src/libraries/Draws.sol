// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stage} from "../types/Types.sol";

/// @title Chance, as views: a beacon's value becomes seeds, a seed becomes a permutation.
library Draws {
    uint256 private constant ROUNDS = 4;

    /// @notice Seed of one draw: one beacon serves several purposes and questions.
    function seedOf(bytes32 beacon, Stage purpose, uint256 question) internal pure returns (bytes32) {
        return keccak256(abi.encode(beacon, uint8(purpose), question));
    }

    /// @notice Image of `i` under the permutation of 0 .. n-1 that `seed` names.
    /// @dev Balanced Feistel network of 2k bits, the least k >= 1 with 4**k >= n, walked until it falls below n.
    function perm(bytes32 seed, uint256 i, uint256 n) internal pure returns (uint256 x) {
        // Unchecked: shifts of numbers below 2**16, several hundred times in a round.
        unchecked {
            uint256 k = 1;
            while ((uint256(1) << (2 * k)) < n) ++k;
            uint256 mask = (uint256(1) << k) - 1;
            x = i;
            do {
                uint256 left = x >> k;
                uint256 right = x & mask;
                for (uint256 r = 0; r < ROUNDS; ++r) {
                    (left, right) = (right, left ^ (_round(seed, r, right) & mask));
                }
                x = (left << k) | right;
            } while (x >= n);
        }
    }

    /// @dev keccak256(abi.encode(seed, r, right)), in scratch memory: a draw of 256 tasks calls this a thousand times.
    function _round(bytes32 seed, uint256 r, uint256 right) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, seed)
            mstore(add(free, 0x20), r)
            mstore(add(free, 0x40), right)
            value := keccak256(free, 0x60)
        }
    }
}
