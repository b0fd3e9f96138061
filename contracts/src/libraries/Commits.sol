// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Job, Round, Store, WorkerSlot} from "../types/State.sol";
import {JobId, Phase, Seal, Stage} from "../types/Types.sol";
import {Acts} from "./Acts.sol";
import {Bits} from "./Bits.sol";
import {Sealing} from "./Sealing.sol";
import {WorkerRoster} from "./WorkerRoster.sol";

/// @title The acts of Commit: sealing the result of a task, claiming one that its slot leaves unserved. Linked.
library Commits {
    using Bits for uint256;

    function sealTask(Store storage s, IStakeVault vault, JobId id, uint16 task, uint32 slot, bytes32 hash) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        _require(job, r, id, task);
        WorkerSlot storage worker = job.slots[slot];
        Seal memory work = r.seals[Sealing.key(Stage.Work, task, 0)];
        if (work.hash != 0) revert IJobMarket.AlreadySealed(task, 0);
        bool claimed = r.claimed.has(task);
        // INVARIANT: a task is served by the slot that claimed it, else by the one that the seed names.
        bool owns = claimed ? work.slot == slot : worker.active && worker.index == WorkerRoster.indexOfTask(r, task);
        if (!owns) revert IJobMarket.NotYourTask(task, slot);
        Acts.requireOperator(vault, worker.provider);
        r.sealedTasks = r.sealedTasks.with(task);
        r.workOf[worker.provider] = r.workOf[worker.provider].with(task);
        if (!claimed) work = _back(vault, job, worker, slot);
        work.hash = hash;
        Acts.record(s, id, Stage.Work, task, 0, work);
    }

    function claim(Store storage s, IStakeVault vault, JobId id, uint16 task, uint32 slot) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        _require(job, r, id, task);
        // INVARIANT: the first half of the window belongs to the slots that the seed names.
        uint64 from = r.deadline - job.terms.windows.commit / 2;
        if (block.number < from) revert IJobMarket.ClaimTooEarly(task, from);
        if (r.sealedTasks.has(task)) revert IJobMarket.AlreadySealed(task, 0);
        uint256 key = Sealing.key(Stage.Work, task, 0);
        if (r.claimed.has(task)) revert IJobMarket.AlreadyClaimed(task, r.seals[key].slot);
        WorkerSlot storage worker = job.slots[slot];
        if (!worker.active) revert IJobMarket.NoSuchSlot(slot);
        Acts.requireOperator(vault, worker.provider);
        // INVARIANT: a slot claims one task at a time, and its bond answers for it.
        if (_isClaiming(r, worker, slot)) revert IJobMarket.SlotClaims(slot, worker.claim);
        worker.claim = task;
        r.claimed = r.claimed.with(task);
        r.seals[key] = _back(vault, job, worker, slot);
        emit IJobMarket.Claimed(id, job.round, task, slot, worker.provider, msg.sender);
    }

    function _require(Job storage job, Round storage r, JobId id, uint16 task) private view {
        Acts.requirePhase(r, id, Phase.Commit);
        if (task >= job.terms.tasks) revert IJobMarket.NoSuchTask(task, job.terms.tasks);
    }

    /// @dev The bond behind a new seal, as a seal without a hash.
    function _back(IStakeVault vault, Job storage job, WorkerSlot storage worker, uint32 slot)
        private
        returns (Seal memory)
    {
        if (!worker.backing) {
            worker.backing = true;
            return Seal(0, worker.provider, slot, true, false, address(0));
        }
        // INVARIANT: no bond backs two seals.
        vault.lock(worker.provider, msg.sender, job.terms.bond);
        address other = msg.sender == worker.operator ? address(0) : msg.sender;
        return Seal(0, worker.provider, slot, false, false, other);
    }

    function _isClaiming(Round storage r, WorkerSlot storage worker, uint32 slot) private view returns (bool) {
        uint16 task = worker.claim;
        bool open = r.claimed.has(task) && !r.sealedTasks.has(task);
        return open && r.seals[Sealing.key(Stage.Work, task, 0)].slot == slot;
    }
}
