// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Job, Round} from "../types/State.sol";
import {Phase, Seal, Stage} from "../types/Types.sol";
import {Bits} from "./Bits.sol";
import {Facts} from "./Phases.sol";
import {Sealing} from "./Sealing.sol";

/// @title Reads off a round what a phase with a window still waits for, and what decides its successor, but for what is included.
library Gauge {
    using Sealing for Seal;
    using Bits for uint256;

    /// @notice Fills in the facts of a phase that has a window.
    function read(Facts memory f, Job storage job, Round storage r) internal view {
        Phase phase = r.phase;
        if (phase == Phase.Commit) {
            f.pending = uint16(job.terms.tasks - r.sealedTasks.count());
            f.anySealed = r.sealedTasks != 0;
        } else if (phase == Phase.Check || phase == Phase.Recheck) {
            uint256 unanswered = (r.drawn & ~r.answered).count();
            f.pending = uint16(unanswered);
            f.anyUnanswered = unanswered != 0;
            f.tooManyUnanswered = unanswered * 3 > r.drawn.count();
        } else if (phase == Phase.Reveal) {
            uint256 released = r.drawn & ~r.answered;
            f.pending =
                uint16((r.sealedTasks & ~released & ~r.openedTasks).count() + (r.answered & ~r.openedChecks).count());
        } else if (phase == Phase.Gather) {
            f.anyDisputed = r.disputed != 0;
        } else if (phase == Phase.VerdictSeal || phase == Phase.UpdateVerdictSeal) {
            f.pending = r.untouched + r.seatsLeft;
        } else if (phase == Phase.VerdictOpen) {
            f.pending = r.panelUnopened + uint16((r.challenged & ~r.openedChallenges).count());
        } else {
            _readUpdate(f, job, r, phase);
        }
    }

    function _readUpdate(Facts memory f, Job storage job, Round storage r, Phase phase) private view {
        uint16 answered = r.updateAnswered;
        if (phase == Phase.Update || phase == Phase.Succession) {
            f.proposed = r.proposed;
            f.anySuccessor = r.gathered != 0;
        } else if (phase == Phase.UpdateCheck) {
            f.pending = uint16(uint256(r.updateExpected & ~answered).count());
            f.checkersAnswered = answered >> job.terms.gatherers != 0;
        } else if (phase == Phase.UpdateOpen) {
            f.pending = uint16(uint256(answered & ~r.updateOpened).count()) + (r.proposalOpened ? 0 : 1);
            f.updateDisputed = f.pending != 0 || _differ(job, r, answered);
        } else if (phase == Phase.UpdateChallenge) {
            f.updateChallenged = r.updateChallenged;
        } else if (phase == Phase.UpdateVerdictOpen) {
            f.pending = r.panelUnopened + (r.updateChallenged && !r.challengeOpened ? 1 : 0);
        }
    }

    function _differ(Job storage job, Round storage r, uint16 answered) private view returns (bool) {
        uint16 question = job.terms.tasks;
        bytes32 proposed = Sealing.proposal(r, question).outcome();
        for (uint16 seat = 0; answered >> seat != 0; ++seat) {
            bool sealedIt = (answered >> seat) & 1 == 1;
            if (sealedIt && r.seals[Sealing.key(Stage.UpdateCheck, question, seat)].outcome() != proposed) return true;
        }
        return false;
    }
}
