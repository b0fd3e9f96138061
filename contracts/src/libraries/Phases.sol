// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase} from "../types/Types.sol";

/// @notice All that a transition may depend on, gathered by the caller.
struct Facts {
    uint64 nowBlock;
    uint64 deadline;
    bool beaconReady; // the awaited beacon was read
    bool canOpen; // a coordinator, rosters large enough
    bool ended; // all rounds done, stopped, or failed too often
    uint16 pending; // what the phase still waits for
    bool anySealed;
    bool anyDrawn;
    bool anyUnanswered;
    bool tooManyUnanswered;
    bool anyDisputed;
    bool updatable; // something is included and a coordinator is there
    bool proposed;
    bool anySuccessor; // a gatherer that may propose in the coordinator's place
    bool checkersAnswered; // at least one of the two drawn for the update
    bool updateDisputed;
    bool updateChallenged;
    bool settled;
}

/// @title The transition function: no storage, no clock, no chance of its own.
/// @notice Mirrored in Python; the golden vectors run through both.
library Phases {
    /// @notice Where a round goes from `from`; `from` itself while it has to wait.
    function next(Phase from, Facts memory f) internal pure returns (Phase) {
        if (from == Phase.Waiting) return f.ended ? Phase.Ended : f.canOpen ? Phase.Seed : from;
        if (from == Phase.Finalise) return !f.settled ? from : f.ended ? Phase.Ended : Phase.Waiting;
        if (awaitsBeacon(from)) return f.beaconReady ? _afterBeacon(from, f) : from;
        bool over = f.nowBlock >= f.deadline;
        if (from == Phase.Update || from == Phase.Succession) {
            return f.proposed ? Phase.UpdateDraw : over ? _withoutProposal(from, f) : from;
        }
        // INVARIANT: a challenge window never closes early.
        if (from == Phase.Gather) {
            return !over ? from : f.anyDisputed ? Phase.VerdictDraw : _toUpdate(f);
        }
        if (from == Phase.UpdateChallenge) {
            return !over ? from : f.updateChallenged ? Phase.UpdateVerdictDraw : Phase.Finalise;
        }
        return over || f.pending == 0 ? _afterWindow(from, f) : from;
    }

    /// @notice Whether a phase is over after which nothing changes any more about what is included.
    function endsGathering(Phase phase, Facts memory f) internal pure returns (bool) {
        bool over = f.nowBlock >= f.deadline;
        return
            (phase == Phase.Gather && over && !f.anyDisputed)
                || (phase == Phase.VerdictOpen && (over || f.pending == 0));
    }

    /// @notice Whether a phase waits for a beacon instead of a window.
    function awaitsBeacon(Phase phase) internal pure returns (bool) {
        return phase == Phase.Seed || phase == Phase.Draw || phase == Phase.Redraw || phase == Phase.VerdictDraw
            || phase == Phase.UpdateDraw || phase == Phase.UpdateVerdictDraw;
    }

    function _afterBeacon(Phase from, Facts memory f) private pure returns (Phase) {
        if (from == Phase.Seed) return Phase.Commit;
        if (from == Phase.Draw) return f.anyDrawn ? Phase.Check : Phase.Reveal;
        if (from == Phase.Redraw) return Phase.Recheck;
        if (from == Phase.VerdictDraw) return Phase.VerdictSeal;
        if (from == Phase.UpdateDraw) return Phase.UpdateCheck;
        return Phase.UpdateVerdictSeal;
    }

    function _afterWindow(Phase from, Facts memory f) private pure returns (Phase) {
        if (from == Phase.Commit) return f.anySealed ? Phase.Draw : Phase.Finalise;
        if (from == Phase.Check) return f.anyUnanswered ? Phase.Redraw : Phase.Reveal;
        if (from == Phase.Recheck) return f.tooManyUnanswered ? Phase.Finalise : Phase.Reveal;
        if (from == Phase.Reveal) return Phase.Gather;
        if (from == Phase.VerdictSeal) return Phase.VerdictOpen;
        if (from == Phase.VerdictOpen) return _toUpdate(f);
        // INVARIANT: an update that neither drawn verifier answered is never accepted.
        if (from == Phase.UpdateCheck) return f.checkersAnswered ? Phase.UpdateOpen : Phase.Finalise;
        if (from == Phase.UpdateOpen) {
            return f.updateDisputed ? Phase.UpdateVerdictDraw : Phase.UpdateChallenge;
        }
        if (from == Phase.UpdateVerdictSeal) return Phase.UpdateVerdictOpen;
        if (from == Phase.UpdateVerdictOpen) return Phase.Finalise;
        return from; // None, Ended
    }

    function _withoutProposal(Phase from, Facts memory f) private pure returns (Phase) {
        return from == Phase.Update && f.anySuccessor ? Phase.Succession : Phase.Finalise;
    }

    function _toUpdate(Facts memory f) private pure returns (Phase) {
        return f.updatable ? Phase.Update : Phase.Finalise;
    }
}
