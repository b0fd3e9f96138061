// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Job, Round, Store} from "../types/State.sol";
import {JobId, JobView, RoundView, Seal, Stage, Terms} from "../types/Types.sol";
import {Bits} from "./Bits.sol";
import {Sealing} from "./Sealing.sol";
import {VerifierRosters} from "./VerifierRosters.sol";
import {WorkerRoster} from "./WorkerRoster.sol";
import {Works} from "./Works.sol";

/// @title The store as flat structs and arrays, for readers outside.
library Snapshots {
    using Bits for uint256;

    function termsOf(Store storage s, JobId id) external view returns (Terms memory) {
        return s.jobs[id].terms;
    }

    function jobOf(Store storage s, JobId id) external view returns (JobView memory) {
        Job storage job = s.jobs[id];
        return JobView({
            requester: job.requester,
            coordinatorProvider: job.coordinatorProvider,
            round: job.round,
            updates: job.updates,
            failedRounds: job.failedRounds,
            stopped: job.stopped,
            ending: job.ending,
            stateRoot: job.stateRoot,
            stateCid: job.stateCid,
            workerSlots: uint16(job.roster.length)
        });
    }

    function roundOf(Store storage s, JobId id) external view returns (RoundView memory v) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        v.number = job.round;
        v.phase = r.phase;
        v.openedAt = r.openedAt;
        v.deadline = r.deadline;
        v.beaconBlock = r.beaconBlock;
        v.epoch = r.epoch;
        v.workers = r.workers;
        v.verifiers = r.verifiers;
        v.gathered = r.gathered;
        v.updateAnswered = r.updateAnswered;
        v.updateOpened = r.updateOpened;
        v.proposed = r.proposed;
        v.proposer = r.proposer;
        v.proposalOpened = r.proposalOpened;
        v.updateDisputed = r.updateDisputed;
        v.updateChallenged = r.updateChallenged;
        v.isVoid = r.isVoid;
        _words(v, r);
    }

    function _words(RoundView memory v, Round storage r) private view {
        v.seed = r.seed;
        v.draw = r.draw;
        v.redraw = r.redraw;
        v.panelDraw = r.panelDraw;
        v.updateDraw = r.updateDraw;
        v.updatePanelDraw = r.updatePanelDraw;
        v.claimed = r.claimed;
        v.sealedTasks = r.sealedTasks;
        v.drawn = r.drawn;
        v.answered = r.answered;
        v.openedTasks = r.openedTasks;
        v.openedChecks = r.openedChecks;
        v.disputed = r.disputed;
        v.challenged = r.challenged;
        v.included = r.included;
    }

    function slotOfTask(Store storage s, JobId id, uint16 task) external view returns (uint32 slot, address provider) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        if (r.seed == 0) revert IJobMarket.NotInPhase(id, r.phase);
        if (task >= job.terms.tasks) revert IJobMarket.NoSuchTask(task, job.terms.tasks);
        slot = r.roster[WorkerRoster.indexOfTask(r, task)];
        provider = job.slots[slot].provider;
    }

    function sealOf(Store storage s, JobId id, uint32 round, Stage stage, uint16 question, uint16 seat)
        external
        view
        returns (Seal memory)
    {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[round];
        if (stage == Stage.Work && seat == 0 && (r.sealedTasks | r.claimed).has(question)) {
            Seal memory work = Works.backing(job, r, question);
            (work.hash, work.opened) = (r.work[question], r.openedTasks.has(question));
            return work;
        }
        return r.seals[Sealing.key(stage, question, seat)];
    }

    function workerRoster(Store storage s, JobId id)
        external
        view
        returns (uint32[] memory slots, address[] memory providers)
    {
        Job storage job = s.jobs[id];
        slots = job.roster;
        providers = new address[](slots.length);
        for (uint256 i = 0; i < slots.length; ++i) {
            providers[i] = job.slots[slots[i]].provider;
        }
    }

    function verifierRoster(Store storage s, uint64 epoch)
        external
        view
        returns (uint32[] memory slots, address[] memory providers)
    {
        uint256 size = VerifierRosters.sizeAt(s.verifiers, epoch);
        slots = new uint32[](size);
        providers = new address[](size);
        for (uint256 i = 0; i < size; ++i) {
            (slots[i], providers[i]) = VerifierRosters.at(s.verifiers, epoch, i);
        }
    }
}
