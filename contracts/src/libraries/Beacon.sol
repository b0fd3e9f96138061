// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {JobId, Phase} from "../types/Types.sol";

/// @title The one seam through which chance comes in: the hash of a block that does not exist yet.
/// @notice Trusted: whoever orders blocks on a development chain or rollup. A deployment on L1 replaces this file.
library Beacon {
    /// @notice Block whose hash a beacon armed now will use.
    function arm(uint256 delay) internal view returns (uint64) {
        return uint64(block.number + delay);
    }

    /// @notice Whether the awaited block lies behind us, and its hash; zero when it can no longer be read (EIP-2935).
    function read(uint64 target) internal view returns (bool ready, bytes32 hash) {
        // INVARIANT: nobody knows a beacon in the transaction that closes what it decides about.
        if (block.number <= target) return (false, 0);
        return (true, Blockhash.blockHash(target));
    }

    /// @notice A beacon's value: of this job, this round and this use only.
    function value(bytes32 hash, JobId job, uint32 round, Phase phase) internal pure returns (bytes32) {
        return keccak256(abi.encode(hash, job, round, uint8(phase)));
    }
}
