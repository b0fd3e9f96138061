// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Bits} from "../libraries/Bits.sol";
import {WorkerRoster} from "../libraries/WorkerRoster.sol";
import {Job, Round, WorkerSlot} from "../types/State.sol";
import {JobId, Phase, Seal, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Commit: workers seal the results of the tasks that the seed assigned to their slots.
abstract contract Commit is MarketStorage {
    using Bits for uint256;

    /// @inheritdoc IJobMarket
    function sealTask(JobId id, uint32 round, uint16 task, uint32 slot, bytes32 hash) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.Commit);
        if (task >= job.terms.tasks) revert NoSuchTask(task, job.terms.tasks);
        WorkerSlot storage s = job.slots[slot];
        // INVARIANT: a task is served by the slot that the seed names.
        if (!s.active || s.index != WorkerRoster.indexOfTask(r, task)) revert NotYourTask(task, slot);
        _requireOperator(s.provider);
        r.sealedTasks = r.sealedTasks.with(task);
        r.workOf[s.provider] = r.workOf[s.provider].with(task);
        if (s.backing) {
            // INVARIANT: no bond backs two seals.
            _vault.lock(s.provider, msg.sender, job.terms.bond);
            _record(id, Stage.Work, task, 0, Seal(hash, s.provider, slot, false, msg.sender, 0));
        } else {
            s.backing = true;
            _record(id, Stage.Work, task, 0, Seal(hash, s.provider, slot, true, s.operator, 0));
        }
    }
}
