// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Job, Round, Store, WorkerSlot} from "../types/State.sol";
import {JobId, Phase, Stage, TaskSeal} from "../types/Types.sol";
import {Acts} from "./Acts.sol";
import {Bits} from "./Bits.sol";
import {Works} from "./Works.sol";

/// @title The acts of Commit: sealing the results of tasks, claiming one that its slot leaves unserved. Linked.
library Commits {
    using Bits for uint256;

    function sealTasks(Store storage s, IStakeVault vault, JobId id, uint32 slot, TaskSeal[] calldata seals) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        WorkerSlot storage worker = job.slots[slot];
        Acts.requirePhase(r, id, Phase.Commit);
        uint256 sealedTasks = r.sealedTasks;
        uint256 bonds = 0;
        for (uint256 i = 0; i < seals.length; ++i) {
            (uint16 task, bytes32 hash) = (seals[i].task, seals[i].hash);
            _requireTask(job, task);
            if (hash == 0) revert IJobMarket.ZeroHash();
            // INVARIANT: a seat seals once.
            if (sealedTasks.has(task)) revert IJobMarket.AlreadySealed(task, 0);
            // INVARIANT: a task is served by the slot that claimed it, else by the one that the seed names.
            if (Works.slotOf(r, task) != slot) revert IJobMarket.NotYourTask(task, slot);
            sealedTasks = sealedTasks.with(task);
            r.work[task] = hash;
            if (!r.claimed.has(task)) bonds += _bondsFor(r, worker, task);
            emit IJobMarket.Sealed(id, job.round, Stage.Work, task, 0, worker.provider, msg.sender, hash);
        }
        r.sealedTasks = sealedTasks;
        Acts.requireOperator(vault, worker.provider);
        // INVARIANT: no bond backs two seals.
        if (bonds != 0) vault.lock(worker.provider, msg.sender, bonds * job.terms.bond);
    }

    function claim(Store storage s, IStakeVault vault, JobId id, uint16 task, uint32 slot) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        Acts.requirePhase(r, id, Phase.Commit);
        _requireTask(job, task);
        // INVARIANT: the first half of the window belongs to the slots that the seed names.
        uint64 from = r.deadline - job.terms.windows.commit / 2;
        if (block.number < from) revert IJobMarket.ClaimTooEarly(task, from);
        if (r.sealedTasks.has(task)) revert IJobMarket.AlreadySealed(task, 0);
        if (r.claimed.has(task)) revert IJobMarket.AlreadyClaimed(task, r.claimants[task]);
        WorkerSlot storage worker = job.slots[slot];
        if (!worker.active) revert IJobMarket.NoSuchSlot(slot);
        Acts.requireOperator(vault, worker.provider);
        // INVARIANT: a slot claims one task at a time, and its bond answers for it.
        if (_isClaiming(r, worker, slot)) revert IJobMarket.SlotClaims(slot, worker.claim);
        worker.claim = task;
        r.claimed = r.claimed.with(task);
        r.claimants[task] = slot;
        if (_bondsFor(r, worker, task) != 0) vault.lock(worker.provider, msg.sender, job.terms.bond);
        emit IJobMarket.Claimed(id, job.round, task, slot, worker.provider, msg.sender);
    }

    function _requireTask(Job storage job, uint16 task) private view {
        if (task >= job.terms.tasks) revert IJobMarket.NoSuchTask(task, job.terms.tasks);
    }

    /// @dev Bonds to be locked for a new seal or claim: none where the slot's own stands behind no other yet.
    function _bondsFor(Round storage r, WorkerSlot storage worker, uint16 task) private returns (uint256) {
        if (worker.backs == 0) {
            worker.backs = task + 1;
            return 0;
        }
        if (msg.sender != worker.operator) {
            r.lent = r.lent.with(task);
            r.lenders[task] = msg.sender;
        }
        return 1;
    }

    function _isClaiming(Round storage r, WorkerSlot storage worker, uint32 slot) private view returns (bool) {
        uint16 task = worker.claim;
        return r.claimed.has(task) && !r.sealedTasks.has(task) && r.claimants[task] == slot;
    }
}
