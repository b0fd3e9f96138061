// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {MAX_SLOTS, Job, Round, WorkerSlot} from "../types/State.sol";
import {Draws} from "./Draws.sol";

/// @title The workers of one job: an array with swap-and-pop. A round keeps a copy of its opening.
library WorkerRoster {
    /// @notice Appends a slot; one that joins an open round holds no task of it.
    function add(Job storage job, address provider, address operator) internal returns (uint32 slot) {
        uint256 size = job.roster.length;
        // INVARIANT: a roster fits into a round's bounded loops.
        if (size >= MAX_SLOTS) revert IJobMarket.RosterFull(size);
        slot = ++job.slotCount;
        job.slots[slot] =
            WorkerSlot({provider: provider, index: uint16(size), active: true, claim: 0, backs: 0, operator: operator});
        job.roster.push(slot);
    }

    /// @notice Takes a slot out; the last one moves into its place.
    function remove(Job storage job, uint32 slot) internal {
        WorkerSlot storage gone = job.slots[slot];
        uint32 last = job.roster[job.roster.length - 1];
        uint16 index = gone.index;
        gone.active = false;
        if (last != slot) {
            job.slots[last].index = index;
            job.roster[index] = last;
        }
        job.roster.pop();
    }

    /// @notice Roster index, at the opening, that a task belongs to.
    function indexOfTask(Round storage r, uint256 task) internal view returns (uint256) {
        uint256 n = r.workers;
        return Draws.perm(r.seed, task % n, n);
    }
}
