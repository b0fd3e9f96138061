// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Job, Round, WorkerSlot} from "../types/State.sol";
import {Seal} from "../types/Types.sol";
import {Bits} from "./Bits.sol";
import {WorkerRoster} from "./WorkerRoster.sol";

/// @title The seals of workers. A round keeps their hashes alone: whose a seal is follows from seed, roster and claims.
/// @notice Most of a round's words are these, so they are the ones that cost.
library Works {
    using Bits for uint256;

    /// @notice The slot that serves a task: the one that claimed it, else the one that the seed names.
    function slotOf(Round storage r, uint256 task) internal view returns (uint32) {
        return r.claimed.has(task) ? r.claimants[task] : r.roster[WorkerRoster.indexOfTask(r, task)];
    }

    /// @notice Task number `i` of all, where they are counted slot by slot: 0, n, 2n, .., 1, n + 1, ..
    function taskAt(Round storage r, uint256 i, uint256 tasks) internal view returns (uint256) {
        uint256 n = r.workers;
        (uint256 each, uint256 more) = (tasks / n, tasks % n); // the first `more` slots have one more
        uint256 first = more * (each + 1);
        if (i < first) return i / (each + 1) + n * (i % (each + 1));
        return more + (i - first) / each + n * ((i - first) % each);
    }

    /// @notice Provider of the slot that serves a task.
    function providerOf(Job storage job, Round storage r, uint256 task) internal view returns (address) {
        return job.slots[slotOf(r, task)].provider;
    }

    /// @notice Who stands behind a sealed or claimed task, with which bond: its seal without the hash.
    function backing(Job storage job, Round storage r, uint256 task) internal view returns (Seal memory s) {
        s.slot = slotOf(r, task);
        WorkerSlot storage slot = job.slots[s.slot];
        s.provider = slot.provider;
        s.ofSlot = slot.backs == task + 1;
        s.operator = r.lent.has(task) ? r.lenders[task] : slot.operator;
    }

    /// @notice What a task's seal says and whose it is: the seal without its bond.
    function sealedBy(Job storage job, Round storage r, uint256 task) internal view returns (Seal memory s) {
        s.hash = r.work[task];
        s.provider = providerOf(job, r, task);
        s.opened = r.openedTasks.has(task);
    }

    /// @notice The outcome that a task's seal was opened to, as `Sealing.outcomeHash` of it; zero until then.
    function outcome(Round storage r, uint256 task) internal view returns (bytes32) {
        return r.openedTasks.has(task) ? r.work[task] : bytes32(0);
    }

    /// @notice The tasks of some providers, sealed or not: what a slot holds by the seed, and what it claimed.
    function tasksOf(Job storage job, Round storage r, address[] memory providers)
        internal
        view
        returns (uint256[] memory tasks)
    {
        uint256 n = r.workers;
        tasks = new uint256[](providers.length);
        uint256 every = 0; // n-th task, from 0 on
        for (uint256 task = 0; task < job.terms.tasks; task += n) {
            every = every.with(task);
        }
        for (uint256 first = 0; first < n; ++first) {
            uint32 slot = r.roster[WorkerRoster.indexOfTask(r, first)];
            _add(tasks, providers, job.slots[slot].provider, (every << first) & ~r.claimed);
        }
        for (uint256 left = r.claimed; left != 0; left &= left - 1) {
            uint256 task = left.lowest();
            _add(tasks, providers, providerOf(job, r, task), uint256(0).with(task));
        }
    }

    function _add(uint256[] memory tasks, address[] memory providers, address provider, uint256 set) private pure {
        for (uint256 p = 0; p < providers.length; ++p) {
            if (providers[p] == provider) tasks[p] |= set;
        }
    }
}
