// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Job, Round, StateRef, Store} from "../types/State.sol";
import {Outcome, Phase, Seal, Stage} from "../types/Types.sol";
import {Bits} from "./Bits.sol";
import {Panels} from "./Panels.sol";
import {NONFINITE, SealRef, Sealing} from "./Sealing.sol";

/// @title Openings against seals, and what a round learns from each. Linked.
library Openings {
    using Sealing for Seal;
    using Bits for uint256;

    /// @notice Opens a seal of any stage but the panels'.
    function open(Store storage s, SealRef memory ref, uint16 seat, Outcome memory outcome, bytes32 salt) external {
        Job storage job = s.jobs[ref.job];
        Round storage r = job.rounds[job.round];
        _requirePhase(r, ref, _openedIn(ref.stage));
        if (ref.stage == Stage.Work && r.drawn.has(ref.question) && !r.answered.has(ref.question)) {
            revert IJobMarket.TaskReleased(ref.question);
        }
        bytes32 outcomeHash = _unseal(r, ref, seat, outcome, outcome.h, salt);
        if (ref.stage == Stage.Work) {
            r.openedTasks = r.openedTasks.with(ref.question);
            if (outcome.root == NONFINITE) r.nonFinite = r.nonFinite.with(ref.question);
            _compare(r, Stage.Check, ref.question, outcomeHash);
        } else if (ref.stage == Stage.Check) {
            r.openedChecks = r.openedChecks.with(ref.question);
            _compare(r, Stage.Work, ref.question, outcomeHash);
        } else if (ref.stage == Stage.Challenge) {
            r.openedChallenges = r.openedChallenges.with(ref.question);
        } else {
            r.states[outcomeHash] = StateRef(outcome.root, outcome.cid);
            if (ref.stage == Stage.Update) r.proposalOpened = true;
            else if (ref.stage == Stage.UpdateCheck) r.updateOpened |= uint16(1) << seat;
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
        _requirePhase(r, ref, ofUpdate ? Phase.UpdateVerdictOpen : Phase.VerdictOpen);
        // INVARIANT: a vote shows the witness, which no reveal of anybody else did.
        outcome.h = Sealing.witnessHash(ref, witness);
        bytes32 outcomeHash = _unseal(r, ref, seat, outcome, witness, salt);
        --r.panelUnopened;
        Panels.vote(r, ref.question, outcomeHash);
        if (ofUpdate) r.states[outcomeHash] = StateRef(outcome.root, outcome.cid);
        else _noteLead(r, ref.question);
    }

    /// @dev Checks an opening against its seal, and keeps the outcome's hash.
    function _unseal(
        Round storage r,
        SealRef memory ref,
        uint16 seat,
        Outcome memory outcome,
        bytes32 secret,
        bytes32 salt
    ) private returns (bytes32 outcomeHash) {
        Seal storage answer = r.seals[Sealing.key(ref.stage, ref.question, seat)];
        if (answer.hash == 0) revert IJobMarket.NotSealed(ref.question, seat);
        // INVARIANT: a seal is opened once, to exactly what was sealed.
        if (answer.opened) revert IJobMarket.AlreadyOpened(ref.question, seat);
        bytes32 got = Sealing.sealHash(ref, answer.provider, outcome.root, outcome.cid, secret, salt);
        if (got != answer.hash) revert IJobMarket.WrongOpening(answer.hash, got);
        if (!Sealing.isWellFormed(outcome.root, outcome.cid)) {
            revert IJobMarket.BadOutcome(outcome.root, outcome.cid);
        }
        outcomeHash = Sealing.outcomeHash(outcome);
        (answer.hash, answer.opened) = (outcomeHash, true);
        emit IJobMarket.Opened(ref.job, ref.round, ref.stage, ref.question, seat, answer.provider, outcome);
    }

    /// @dev Two opened outcomes that differ are a matter for a panel.
    function _compare(Round storage r, Stage other, uint16 question, bytes32 outcomeHash) private {
        bytes32 otherHash = r.seals[Sealing.key(other, question, 0)].outcome();
        if (otherHash != 0 && otherHash != outcomeHash) r.disputed = r.disputed.with(question);
    }

    /// @dev Keeps the bitmaps that decide about inclusion in step with the votes.
    function _noteLead(Round storage r, uint16 question) private {
        bytes32 lead = Panels.leader(r, question);
        bytes32 accused = r.seals[Sealing.key(Stage.Work, question, 0)].outcome();
        bool rejects = lead != 0 && lead != accused;
        r.led = lead == 0 ? r.led.without(question) : r.led.with(question);
        r.rejected = rejects ? r.rejected.with(question) : r.rejected.without(question);
    }

    function _requirePhase(Round storage r, SealRef memory ref, Phase phase) private view {
        // INVARIANT: each stage is opened in one phase.
        if (r.phase != phase) revert IJobMarket.NotInPhase(ref.job, r.phase);
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
