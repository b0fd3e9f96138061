// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Sets of at most 256 numbers, as one word.
library Bits {
    function has(uint256 set, uint256 i) internal pure returns (bool) {
        return (set >> i) & 1 == 1;
    }

    function with(uint256 set, uint256 i) internal pure returns (uint256) {
        return set | (uint256(1) << i);
    }

    function without(uint256 set, uint256 i) internal pure returns (uint256) {
        return set & ~(uint256(1) << i);
    }

    /// @notice Size of a set; clears the lowest bit until none is left.
    function count(uint256 set) internal pure returns (uint256 n) {
        for (; set != 0; set &= set - 1) {
            ++n;
        }
    }
}
