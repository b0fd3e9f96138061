// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Equality with both sides in the failure, and a clamp for fuzzed numbers.
abstract contract Assertions {
    error Differs(string what, uint256 got, uint256 wanted);
    error Fails(string what);

    function assertEq(uint256 got, uint256 wanted, string memory what) internal pure {
        if (got != wanted) revert Differs(what, got, wanted);
    }

    function assertEq(address got, address wanted, string memory what) internal pure {
        assertEq(uint256(uint160(got)), uint256(uint160(wanted)), what);
    }

    function assertEq(bytes32 got, bytes32 wanted, string memory what) internal pure {
        assertEq(uint256(got), uint256(wanted), what);
    }

    function assertTrue(bool fact, string memory what) internal pure {
        if (!fact) revert Fails(what);
    }

    function clamp(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }
}
