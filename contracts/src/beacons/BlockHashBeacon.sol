// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {IBeacon} from "../interfaces/IBeacon.sol";

/// @title Chance from a block's hash: for development chains and for rollups, whose sequencer is trusted with it.
/// @notice Whoever builds a block can try as many hashes as it can compute: not for chains with a market for blocks.
contract BlockHashBeacon is IBeacon {
    /// @inheritdoc IBeacon
    uint32 public constant leastDelay = 1;

    /// @inheritdoc IBeacon
    function read(uint64 target) external view returns (bool ready, bytes32 source) {
        // INVARIANT: nobody knows a beacon in the transaction that closes what it decides about.
        if (block.number <= target) return (false, 0);
        return (true, Blockhash.blockHash(target));
    }
}
