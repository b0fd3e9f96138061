// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase} from "../types/Types.sol";

/// @title How a market uses its beacon: which block it waits for, and what becomes of what that block says.
library Beacon {
    /// @notice Block that a beacon armed now waits for.
    function arm(uint256 delay) internal view returns (uint64) {
        return uint64(block.number + delay);
    }

    /// @notice A beacon's value: of this job, this round and this use only.
    function value(bytes32 source, JobId job, uint32 round, Phase phase) internal pure returns (bytes32) {
        return keccak256(abi.encode(source, job, round, uint8(phase)));
    }
}
