// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {MAX_SLOTS, Job, Round, WorkerSlot} from "../types/State.sol";
import {Draws} from "./Draws.sol";

/// @title The workers of one job: an array with swap-and-pop, and where each slot stood when the round opened.
library WorkerRoster {
    uint16 private constant NOWHERE = type(uint16).max;

    /// @notice Appends a slot; one that joins an open round holds no task of it.
    function add(Job storage job, address provider, address operator) internal returns (uint32 slot) {
        uint256 size = job.roster.length;
        // INVARIANT: a roster fits into a round's bounded loops.
        if (size >= MAX_SLOTS) revert IJobMarket.RosterFull(size);
        slot = ++job.slotCount;
        job.slots[slot] = WorkerSlot({
            provider: provider,
            index: uint16(size),
            movedRound: job.openedRounds,
            openIndex: NOWHERE,
            active: true,
            backing: false,
            claim: 0,
            operator: operator
        });
        job.roster.push(slot);
    }

    /// @notice Takes a slot out; the last one moves into its place.
    function remove(Job storage job, uint32 slot) internal {
        WorkerSlot storage gone = job.slots[slot];
        uint32 last = job.roster[job.roster.length - 1];
        uint16 index = gone.index;
        _remember(job, gone);
        gone.active = false;
        if (last != slot) {
            WorkerSlot storage moved = job.slots[last];
            _remember(job, moved);
            moved.index = index;
            job.roster[index] = last;
        }
        job.roster.pop();
    }

    /// @notice Index that a slot had when the latest round opened.
    function indexAtOpening(Job storage job, WorkerSlot storage slot) internal view returns (uint256) {
        return slot.movedRound == job.openedRounds ? slot.openIndex : slot.index;
    }

    /// @notice Roster index, at the opening, that a task belongs to.
    function indexOfTask(Round storage r, uint16 task) internal view returns (uint256) {
        uint256 n = r.workers;
        return Draws.perm(r.seed, task % n, n);
    }

    /// @dev Keeps the index of the opening, once per round.
    function _remember(Job storage job, WorkerSlot storage slot) private {
        uint32 opened = job.openedRounds;
        if (slot.movedRound == opened) return;
        slot.movedRound = opened;
        slot.openIndex = slot.index;
    }
}
