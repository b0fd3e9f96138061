// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "../interfaces/IBeacon.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Job, Round, Store} from "../types/State.sol";
import {Ending, JobId, Phase, Reason, Windows} from "../types/Types.sol";
import {Beacon} from "./Beacon.sol";
import {Bits} from "./Bits.sol";
import {Draws} from "./Draws.sol";
import {Gauge} from "./Gauge.sol";
import {Inclusion} from "./Inclusion.sol";
import {Facts, Phases} from "./Phases.sol";
import {Panels} from "./Panels.sol";
import {Seats} from "./Seats.sol";
import {TaskSettlement} from "./TaskSettlement.sol";
import {UpdateSettlement} from "./UpdateSettlement.sol";
import {VerifierRosters} from "./VerifierRosters.sol";

/// @notice What a step needs of the deployment.
struct Env {
    IStakeVault vault;
    uint256 epochBlocks;
    uint256 beaconDelay;
    IBeacon beacon;
}

/// @title Moves a round from phase to phase: gathers the facts, asks `Phases.next`, does what the new phase begins with.
library Flow {
    using Bits for uint256;

    /// @notice Moves the open round of a job as far as time and facts allow.
    function advance(Store storage s, Env memory env, JobId id) external {
        while (_step(s, env, id)) {}
    }

    function _step(Store storage s, Env memory env, JobId id) private returns (bool) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        Phase from = r.phase;
        if (from == Phase.Ended) return false;
        Facts memory f = _facts(s, env, id, job, r);
        Phase to = Phases.next(from, f);
        if (to != from) {
            _leave(id, job, r, to);
            _enter(s, env, id, job, to);
            return true;
        }
        if (from != Phase.Waiting || f.nowBlock < f.deadline) return false;
        // The window passed without an opening: that is a failed round, too.
        ++job.failedRounds;
        _announce(id, job.round, r, Phase.Waiting, job.terms.windows.waiting, 0);
        return true;
    }

    // --- facts ---

    function _facts(Store storage s, Env memory env, JobId id, Job storage job, Round storage r)
        private
        returns (Facts memory f)
    {
        Phase phase = r.phase;
        f.nowBlock = uint64(block.number);
        f.deadline = r.deadline;
        if (phase == Phase.Waiting) {
            f.ended = _ending(job) != Ending.None;
            f.canOpen = _canOpen(s, env, job);
        } else if (phase == Phase.Finalise) {
            f.settled = _settle(s, env, id, job, r);
            // This round counts as done here, though its number rises only with the next phase.
            f.ended = f.settled && _endingAfter(job, r) != Ending.None;
        } else if (Phases.awaitsBeacon(phase)) {
            f.beaconReady = _readBeacon(env, id, job, r);
            f.anyDrawn = r.drawn != 0;
        } else {
            Gauge.read(f, job, r);
            // INVARIANT: what the gatherers hold is counted once, after the last of them and of the verdicts.
            if (Phases.endsGathering(phase, f)) {
                (r.included, r.withheld) = Inclusion.split(job, r);
                f.updatable = r.included != 0 && job.coordinatorProvider != address(0);
            }
        }
    }

    function _canOpen(Store storage s, Env memory env, Job storage job) private view returns (bool) {
        return job.coordinatorProvider != address(0) && job.roster.length >= job.terms.minWorkers
            && VerifierRosters.sizeAt(s.verifiers, _epoch(env)) >= job.terms.minVerifiers;
    }

    /// @dev Reads the awaited beacon; one that can no longer be read is armed again.
    function _readBeacon(Env memory env, JobId id, Job storage job, Round storage r) private returns (bool) {
        (bool ready, bytes32 source) = env.beacon.read(r.beaconBlock);
        if (!ready) return false;
        if (source == 0) {
            _announce(id, job.round, r, r.phase, 0, Beacon.arm(env.beaconDelay));
            return false;
        }
        bytes32 value = Beacon.value(source, id, job.round, r.phase);
        if (r.phase == Phase.Seed) r.seed = value;
        else if (r.phase == Phase.Draw) _draw(job, r, value);
        else if (r.phase == Phase.Redraw) r.redraw = value;
        else if (r.phase == Phase.VerdictDraw) r.panelDraw = value;
        else if (r.phase == Phase.UpdateDraw) r.updateDraw = value;
        else r.updatePanelDraw = value;
        emit IJobMarket.BeaconDrawn(id, job.round, r.phase, value);
        return true;
    }

    function _draw(Job storage job, Round storage r, bytes32 value) private {
        uint256 tasks = job.terms.tasks;
        uint256 checks = job.terms.checks;
        uint256 sealedTasks = r.sealedTasks;
        uint256 drawn = 0;
        for (uint256 task = 0; task < tasks; ++task) {
            if (sealedTasks.has(task) && Draws.perm(value, task, tasks) < checks) drawn = drawn.with(task);
        }
        r.draw = value;
        r.drawn = drawn;
    }

    /// @dev One bounded portion of the settlement per step; true when nothing is left.
    function _settle(Store storage s, Env memory env, JobId id, Job storage job, Round storage r)
        private
        returns (bool)
    {
        uint256 tasks = job.terms.tasks;
        if (r.settled < tasks) TaskSettlement.settle(s, env.vault, id);
        if (r.settled < tasks) return false;
        if (r.settled == tasks) UpdateSettlement.settle(s, env.vault, id);
        return true;
    }

    // --- what ends a phase, what begins one ---

    /// @dev Decides what the next phases rest on, once, when a phase is over.
    function _leave(JobId id, Job storage job, Round storage r, Phase to) private {
        Phase from = r.phase;
        if (from == Phase.Recheck) {
            r.isVoid = to == Phase.Finalise;
        } else if (from == Phase.Reveal) {
            // INVARIANT: a verifier that sealed and does not open against an opened result faces a panel.
            r.disputed |= r.openedTasks & r.answered & ~r.openedChecks;
        } else if (from == Phase.VerdictOpen) {
            for (uint256 left = r.disputed; left != 0; left &= left - 1) {
                _verdict(id, job.round, r, uint16(left.lowest()));
            }
        } else if (from == Phase.UpdateOpen) {
            r.updateDisputed = to == Phase.UpdateVerdictDraw;
        } else if (from == Phase.UpdateVerdictOpen) {
            _verdict(id, job.round, r, job.terms.tasks);
        } else if (from == Phase.Finalise) {
            _closeRound(id, job, r);
        }
    }

    function _verdict(JobId id, uint32 round, Round storage r, uint16 question) private {
        bytes32 lead = Panels.leader(r, question);
        emit IJobMarket.VerdictReached(id, round, question, lead != 0, lead);
    }

    function _closeRound(JobId id, Job storage job, Round storage r) private {
        job.failedRounds = r.updated ? 0 : job.failedRounds + 1;
        emit IJobMarket.RoundFinalised(id, job.round, r.updated, r.isVoid);
        ++job.round;
    }

    function _enter(Store storage s, Env memory env, JobId id, Job storage job, Phase to) private {
        Round storage r = job.rounds[job.round];
        if (to == Phase.Seed) _openRound(s, env, id, job, r);
        else if (to == Phase.VerdictSeal) r.untouched = uint16(r.disputed.count());
        else if (to == Phase.UpdateVerdictSeal) (r.untouched, r.seatsLeft) = (1, 0);
        else if (to == Phase.UpdateCheck) r.updateExpected = Seats.expectedOfUpdate(s, id);
        else if (to == Phase.UpdateOpen) r.updateChecked = true;
        uint64 beacon = Phases.awaitsBeacon(to) ? Beacon.arm(env.beaconDelay) : 0;
        _announce(id, job.round, r, to, _window(job.terms.windows, to), beacon);
        if (to == Phase.Ended) _end(env, id, job);
    }

    function _openRound(Store storage s, Env memory env, JobId id, Job storage job, Round storage r) private {
        uint64 epoch = _epoch(env);
        ++job.openedRounds;
        r.openedAt = uint64(block.number);
        r.epoch = uint32(epoch);
        r.workers = uint16(job.roster.length);
        r.roster = job.roster;
        r.verifiers = uint16(VerifierRosters.sizeAt(s.verifiers, epoch));
        emit IJobMarket.RoundOpened(id, job.round, job.stateRoot, job.stateCid, r.workers, r.verifiers, epoch);
    }

    function _end(Env memory env, JobId id, Job storage job) private {
        job.ending = _ending(job);
        address provider = job.coordinatorProvider;
        if (provider != address(0)) env.vault.unlock(provider, job.terms.coordinator, job.terms.coordinatorBond);
        job.coordinatorProvider = address(0);
        uint256 rest = env.vault.escrowOf(id);
        if (rest != 0) {
            env.vault.credit(id, job.requester, rest);
            emit IJobMarket.Credited(id, job.round, job.requester, job.terms.tasks, Reason.Refund, rest);
        }
        emit IJobMarket.JobEnded(id, job.ending);
    }

    /// @dev INVARIANT: a window starts in the block that opens it, so a late caller costs nobody a deadline.
    function _announce(JobId id, uint32 round, Round storage r, Phase phase, uint256 window, uint64 beacon) private {
        r.phase = phase;
        r.deadline = window == 0 ? 0 : uint64(block.number + window);
        r.beaconBlock = beacon;
        emit IJobMarket.PhaseChanged(id, round, phase, r.deadline, beacon);
    }

    // --- small facts ---

    function _epoch(Env memory env) private view returns (uint64) {
        return uint64(block.number / env.epochBlocks);
    }

    function _ending(Job storage job) private view returns (Ending) {
        if (job.round >= job.terms.rounds) return Ending.Completed;
        if (job.stopped) return Ending.Stopped;
        return job.failedRounds >= job.terms.maxFailedRounds ? Ending.Failed : Ending.None;
    }

    function _endingAfter(Job storage job, Round storage r) private view returns (Ending) {
        if (job.round + 1 >= job.terms.rounds) return Ending.Completed;
        if (job.stopped) return Ending.Stopped;
        bool failed = !r.updated && job.failedRounds + 1 >= job.terms.maxFailedRounds;
        return failed ? Ending.Failed : Ending.None;
    }

    /// @dev Length of a phase's window; 0 where it has none.
    function _window(Windows storage w, Phase phase) private view returns (uint256) {
        if (phase == Phase.Waiting) return w.waiting;
        if (phase == Phase.Commit) return w.commit;
        if (phase == Phase.Check || phase == Phase.Recheck) return w.check;
        if (phase == Phase.Reveal) return w.reveal;
        if (phase == Phase.Gather) return w.gather;
        if (phase == Phase.VerdictSeal || phase == Phase.UpdateVerdictSeal) return w.verdictSeal;
        if (phase == Phase.VerdictOpen || phase == Phase.UpdateVerdictOpen) return w.verdictOpen;
        if (phase == Phase.Update || phase == Phase.Succession) return w.update;
        if (phase == Phase.UpdateCheck) return w.updateCheck;
        if (phase == Phase.UpdateOpen) return w.updateOpen;
        return phase == Phase.UpdateChallenge ? w.updateChallenge : 0;
    }
}
