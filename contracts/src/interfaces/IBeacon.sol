// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Where chance comes from: something about a block that does not exist yet.
/// @notice A market names one beacon at its deployment, for good. Beacons have no owner and serve any number of markets.
interface IBeacon {
    /// @notice Least number of blocks between arming and target with which nobody knows the source while arming.
    function leastDelay() external view returns (uint32);

    /// @notice What the chain says of block `target`.
    /// @return ready false while the source may still become known
    /// @return source zero where it is ready and can never be known: the market then arms another block
    function read(uint64 target) external view returns (bool ready, bytes32 source);
}
