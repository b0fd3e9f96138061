// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Commits} from "../libraries/Commits.sol";
import {JobId, TaskSeal} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Commit: workers seal the results of the tasks that the seed assigned to their slots, and of those they claimed.
abstract contract Commit is MarketStorage {
    /// @inheritdoc IJobMarket
    function sealTasks(JobId id, uint32 round, uint32 slot, TaskSeal[] calldata seals) external inRound(id, round) {
        Commits.sealTasks(_store, _vault, id, slot, seals);
    }

    /// @inheritdoc IJobMarket
    function claim(JobId id, uint32 round, uint16 task, uint32 slot) external inRound(id, round) {
        Commits.claim(_store, _vault, id, task, slot);
    }
}
