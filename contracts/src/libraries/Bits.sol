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

    /// @notice Least number in a set that is not empty.
    function lowest(uint256 set) internal pure returns (uint256) {
        return count((set & (~set + 1)) - 1);
    }

    /// @notice Size of a set: sums of neighbours, twice as wide each time. Every call of a round counts sets.
    function count(uint256 set) internal pure returns (uint256) {
        unchecked {
            set -= (set >> 1) & (type(uint256).max / 3);
            set = (set & (type(uint256).max / 5)) + ((set >> 2) & (type(uint256).max / 5));
            set = (set & (type(uint256).max / 17)) + ((set >> 4) & (type(uint256).max / 17));
            set = (set & (type(uint256).max / 257)) + ((set >> 8) & (type(uint256).max / 257));
            // Sixteen sums of 16 bits; the product's highest 16 bits are the sum of them all, at most 256.
            return (set * (type(uint256).max / 65_535)) >> 240;
        }
    }
}
