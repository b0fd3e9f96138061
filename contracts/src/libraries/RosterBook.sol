// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Job, Round, Store, WorkerSlot} from "../types/State.sol";
import {JobId, Phase} from "../types/Types.sol";
import {Bits} from "./Bits.sol";
import {VerifierRosters} from "./VerifierRosters.sol";
import {WorkerRoster} from "./WorkerRoster.sol";
import {Works} from "./Works.sol";

/// @title Joining and leaving, linked: what the market's roster functions do between guard and vault.
library RosterBook {
    using Bits for uint256;

    /// @notice Adds worker slots; their bonds are locked by the caller.
    function join(Store storage s, JobId id, address provider, uint16 slots) external {
        Job storage job = s.jobs[id];
        for (uint256 i = 0; i < slots; ++i) {
            uint32 slot = WorkerRoster.add(job, provider, msg.sender);
            emit IJobMarket.WorkerJoined(id, slot, provider, msg.sender);
        }
    }

    /// @notice Takes a worker slot out.
    /// @return gone the slot; its bond is free at once, unless it backs a seal: then it is freed when that is settled
    function leave(Store storage s, JobId id, uint32 slot) external returns (WorkerSlot memory gone) {
        return _remove(s.jobs[id], id, slot);
    }

    /// @notice Takes a worker slot out that left `task` of the latest round unserved.
    function drop(Store storage s, JobId id, uint32 slot, uint16 task) external returns (WorkerSlot memory gone) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        bool between = r.phase == Phase.Waiting || r.phase == Phase.Ended;
        if (between && job.openedRounds != 0) r = job.rounds[job.openedRounds - 1];
        if (r.seed == 0) revert IJobMarket.NotInPhase(id, r.phase);
        if (task >= job.terms.tasks) revert IJobMarket.NoSuchTask(task, job.terms.tasks);
        // INVARIANT: only a slot that held the task when the round opened, and left it unserved, is dropped.
        if (r.roster[WorkerRoster.indexOfTask(r, task)] != slot) {
            revert IJobMarket.NotYourTask(task, slot);
        }
        // A claim of its task by another slot does not serve it.
        bool served = r.sealedTasks.has(task) && Works.slotOf(r, task) == slot;
        if (served) revert IJobMarket.SlotServed(slot, job.openedRounds - 1);
        return _remove(job, id, slot);
    }

    /// @notice Adds verifier slots from epoch `from` on; their bonds are locked by the caller.
    function enrol(Store storage s, address provider, uint16 slots, uint64 from) external {
        for (uint256 i = 0; i < slots; ++i) {
            uint32 slot = VerifierRosters.add(s.verifiers, provider, msg.sender, from);
            emit IJobMarket.VerifierEnrolled(slot, provider, msg.sender, from);
        }
    }

    /// @notice Takes a verifier slot out from epoch `from` on.
    function retire(Store storage s, uint32 slot, uint64 from) external {
        VerifierRosters.remove(s.verifiers, slot, from);
        emit IJobMarket.VerifierRetired(slot, s.verifiers.slots[slot].provider, from);
    }

    function _remove(Job storage job, JobId id, uint32 slot) private returns (WorkerSlot memory gone) {
        gone = job.slots[slot];
        if (!gone.active) revert IJobMarket.NoSuchSlot(slot);
        WorkerRoster.remove(job, slot);
        emit IJobMarket.WorkerLeft(id, slot, gone.provider);
    }
}
