// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Job, Round, StateRef, Store} from "../types/State.sol";
import {JobId, Opening, Outcome, Phase, Seal, Stage} from "../types/Types.sol";
import {Acts} from "./Acts.sol";
import {Bits} from "./Bits.sol";
import {Panels} from "./Panels.sol";
import {NONFINITE, SealRef, Sealing} from "./Sealing.sol";
import {Works} from "./Works.sol";

/// @title Openings against seals, and what a round learns from each. Linked.
library Openings {
    using Sealing for Seal;
    using Bits for uint256;

    /// @notice Opens seals of any stage but the panels'.
    function open(Store storage s, JobId id, Opening[] calldata openings) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        for (uint256 i = 0; i < openings.length; ++i) {
            Opening calldata o = openings[i];
            SealRef memory ref = SealRef(id, job.round, o.question, o.stage);
            // INVARIANT: each stage is opened in one phase.
            Acts.requirePhase(r, id, _openedIn(o.stage));
            if (o.stage == Stage.Work) _openWork(job, r, ref, o);
            else _openOther(r, ref, o);
        }
    }

    function _openWork(Job storage job, Round storage r, SealRef memory ref, Opening calldata o) private {
        uint16 task = o.question;
        bool answered = r.answered.has(task);
        if (r.drawn.has(task) && !answered) revert IJobMarket.TaskReleased(task);
        // INVARIANT: a task has one seat.
        if (o.seat != 0) revert IJobMarket.NotSealed(task, o.seat);
        bytes32 outcomeHash = _unseal(Works.sealedBy(job, r, task), ref, 0, o.outcome, o.outcome.h, o.salt);
        r.work[task] = outcomeHash;
        r.openedTasks = r.openedTasks.with(task);
        if (o.outcome.root == NONFINITE) r.nonFinite = r.nonFinite.with(task);
        if (answered) _compare(r, task);
    }

    function _openOther(Round storage r, SealRef memory ref, Opening calldata o) private {
        bytes32 outcomeHash = _unsealSeat(r, ref, o.seat, o.outcome, o.outcome.h, o.salt);
        if (o.stage == Stage.Check) {
            r.openedChecks = r.openedChecks.with(o.question);
            _compare(r, o.question);
        } else if (o.stage == Stage.Challenge) {
            r.openedChallenges = r.openedChallenges.with(o.question);
        } else {
            r.states[outcomeHash] = StateRef(o.outcome.root, o.outcome.cid);
            if (o.stage == Stage.Update) r.proposalOpened = true;
            else if (o.stage == Stage.UpdateCheck) r.updateOpened |= uint16(1) << o.seat;
            else r.challengeOpened = true;
        }
    }

    /// @notice Opens a panel member's seal: `outcome.h` follows from the witness, which the seal holds itself.
    function openPanel(
        Store storage s,
        SealRef memory ref,
        uint16 seat,
        Outcome memory outcome,
        bytes32 witness,
        bytes32 salt
    ) external {
        Job storage job = s.jobs[ref.job];
        Round storage r = job.rounds[job.round];
        bool ofUpdate = ref.stage == Stage.UpdatePanel;
        // INVARIANT: each stage is opened in one phase.
        Acts.requirePhase(r, ref.job, ofUpdate ? Phase.UpdateVerdictOpen : Phase.VerdictOpen);
        // INVARIANT: a vote shows the witness, which no reveal of anybody else did.
        outcome.h = Sealing.witnessHash(ref, witness);
        bytes32 outcomeHash = _unsealSeat(r, ref, seat, outcome, witness, salt);
        --r.panelUnopened;
        Panels.vote(r, ref.question, outcomeHash);
        if (ofUpdate) r.states[outcomeHash] = StateRef(outcome.root, outcome.cid);
        else _noteLead(r, ref.question);
    }

    /// @dev Opens the seal of a seat that keeps one, and keeps the outcome's hash in its place.
    function _unsealSeat(
        Round storage r,
        SealRef memory ref,
        uint16 seat,
        Outcome memory outcome,
        bytes32 secret,
        bytes32 salt
    ) private returns (bytes32 outcomeHash) {
        Seal storage kept = r.seals[Sealing.key(ref.stage, ref.question, seat)];
        outcomeHash = _unseal(kept, ref, seat, outcome, secret, salt);
        (kept.hash, kept.opened) = (outcomeHash, true);
    }

    /// @dev Checks an opening against its seal.
    function _unseal(
        Seal memory answer,
        SealRef memory ref,
        uint16 seat,
        Outcome memory outcome,
        bytes32 secret,
        bytes32 salt
    ) private returns (bytes32) {
        if (answer.hash == 0) revert IJobMarket.NotSealed(ref.question, seat);
        // INVARIANT: a seal is opened once, to exactly what was sealed.
        if (answer.opened) revert IJobMarket.AlreadyOpened(ref.question, seat);
        bytes32 got = Sealing.sealHash(ref, answer.provider, outcome.root, outcome.cid, secret, salt);
        if (got != answer.hash) revert IJobMarket.WrongOpening(answer.hash, got);
        if (!Sealing.isWellFormed(outcome.root, outcome.cid)) {
            revert IJobMarket.BadOutcome(outcome.root, outcome.cid);
        }
        emit IJobMarket.Opened(ref.job, ref.round, ref.stage, ref.question, seat, answer.provider, outcome);
        return Sealing.outcomeHash(outcome);
    }

    /// @dev Two opened outcomes that differ are a matter for a panel.
    function _compare(Round storage r, uint16 task) private {
        bytes32 work = Works.outcome(r, task);
        bytes32 check = r.seals[Sealing.key(Stage.Check, task, 0)].outcome();
        if (work != 0 && check != 0 && work != check) r.disputed = r.disputed.with(task);
    }

    /// @dev Keeps the bitmaps that decide about inclusion in step with the votes.
    function _noteLead(Round storage r, uint16 question) private {
        bytes32 lead = Panels.leader(r, question);
        bytes32 accused = Works.outcome(r, question);
        bool rejects = lead != 0 && lead != accused;
        r.led = lead == 0 ? r.led.without(question) : r.led.with(question);
        r.rejected = rejects ? r.rejected.with(question) : r.rejected.without(question);
    }

    /// @dev A panel's seals have an opening of their own; here they are opened in no phase.
    function _openedIn(Stage stage) private pure returns (Phase) {
        if (stage == Stage.Work || stage == Stage.Check) return Phase.Reveal;
        if (stage == Stage.Challenge) return Phase.VerdictOpen;
        if (stage == Stage.Update || stage == Stage.UpdateCheck) return Phase.UpdateOpen;
        if (stage == Stage.UpdateChallenge) return Phase.UpdateVerdictOpen;
        return Phase.None;
    }
}
