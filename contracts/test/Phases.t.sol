// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Facts, Phases} from "../src/libraries/Phases.sol";
import {Phase} from "../src/types/Types.sol";
import {Assertions} from "./support/Assertions.sol";

/// @notice The transition function: each edge, and what holds for all facts.
contract PhasesTest is Assertions {
    function _step(Phase from, Facts memory f, Phase to) private pure {
        assertEq(uint256(Phases.next(from, f)), uint256(to), "next");
    }

    function test_windows_waitWhileSomethingIsPending() public pure {
        Facts memory f;
        (f.nowBlock, f.deadline, f.pending) = (9, 10, 1);
        (f.anySealed, f.updatable, f.checkersAnswered, f.anyDisputed) = (true, true, true, true);
        for (uint256 p = uint256(Phase.Commit); p < uint256(Phase.Finalise); ++p) {
            _step(Phase(p), f, Phase(p));
        }
    }

    function test_challengeWindows_neverCloseEarly() public pure {
        Facts memory f;
        (f.nowBlock, f.deadline) = (9, 10);
        _step(Phase.Gather, f, Phase.Gather);
        _step(Phase.UpdateChallenge, f, Phase.UpdateChallenge);
    }

    function test_otherWindows_closeWhenNothingIsPending() public pure {
        Facts memory f;
        (f.nowBlock, f.deadline) = (9, 10);
        (f.anySealed, f.updatable, f.checkersAnswered) = (true, true, true);
        _step(Phase.Commit, f, Phase.Draw);
        _step(Phase.Check, f, Phase.Reveal);
        _step(Phase.Reveal, f, Phase.Gather);
        _step(Phase.VerdictSeal, f, Phase.VerdictOpen);
        _step(Phase.VerdictOpen, f, Phase.Update);
        _step(Phase.UpdateCheck, f, Phase.UpdateOpen);
        _step(Phase.UpdateOpen, f, Phase.UpdateChallenge);
        _step(Phase.UpdateVerdictSeal, f, Phase.UpdateVerdictOpen);
        _step(Phase.UpdateVerdictOpen, f, Phase.Finalise);
    }

    function test_deadlines_takeTheOtherBranch() public pure {
        Facts memory f;
        (f.nowBlock, f.deadline, f.pending) = (10, 10, 3);
        _step(Phase.Commit, f, Phase.Finalise);
        _step(Phase.Check, f, Phase.Reveal);
        _step(Phase.Gather, f, Phase.Finalise);
        _step(Phase.Recheck, f, Phase.Reveal);
        _step(Phase.VerdictOpen, f, Phase.Finalise);
        _step(Phase.Update, f, Phase.Finalise);
        _step(Phase.Succession, f, Phase.Finalise);
        _step(Phase.UpdateCheck, f, Phase.Finalise);
        _step(Phase.UpdateChallenge, f, Phase.Finalise);
        (f.anyUnanswered, f.tooManyUnanswered, f.anySuccessor) = (true, true, true);
        _step(Phase.Check, f, Phase.Redraw);
        _step(Phase.Recheck, f, Phase.Finalise);
        _step(Phase.Update, f, Phase.Succession);
        _step(Phase.Succession, f, Phase.Finalise);
        f.updateDisputed = true;
        _step(Phase.UpdateOpen, f, Phase.UpdateVerdictDraw);
        f.updateChallenged = true;
        _step(Phase.UpdateChallenge, f, Phase.UpdateVerdictDraw);
        f.proposed = true;
        _step(Phase.Update, f, Phase.UpdateDraw);
        _step(Phase.Succession, f, Phase.UpdateDraw);
        f.updatable = true;
        _step(Phase.Gather, f, Phase.Update);
        f.anyDisputed = true;
        _step(Phase.Gather, f, Phase.VerdictDraw);
    }

    function test_beacons_decide() public pure {
        Facts memory f;
        f.nowBlock = 1_000_000;
        _step(Phase.Draw, f, Phase.Draw);
        f.beaconReady = true;
        _step(Phase.Seed, f, Phase.Commit);
        _step(Phase.Draw, f, Phase.Reveal);
        f.anyDrawn = true;
        _step(Phase.Draw, f, Phase.Check);
        _step(Phase.VerdictDraw, f, Phase.VerdictSeal);
        _step(Phase.UpdateDraw, f, Phase.UpdateCheck);
        _step(Phase.UpdateVerdictDraw, f, Phase.UpdateVerdictSeal);
    }

    function test_betweenRounds() public pure {
        Facts memory f;
        f.nowBlock = 10;
        _step(Phase.Waiting, f, Phase.Waiting);
        f.canOpen = true;
        _step(Phase.Waiting, f, Phase.Seed);
        _step(Phase.Finalise, f, Phase.Finalise);
        f.settled = true;
        _step(Phase.Finalise, f, Phase.Waiting);
        f.ended = true;
        _step(Phase.Finalise, f, Phase.Ended);
        _step(Phase.Waiting, f, Phase.Ended);
        _step(Phase.Ended, f, Phase.Ended);
        _step(Phase.None, f, Phase.None);
    }

    /// @notice A round only goes forward, whatever the facts; only Finalise leads back to Waiting.
    function testFuzz_next_neverGoesBack(uint8 phase, Facts memory f) public pure {
        Phase from = Phase(clamp(phase, 0, uint256(Phase.Ended)));
        Phase to = Phases.next(from, f);
        bool newRound = from == Phase.Finalise && to == Phase.Waiting;
        assertTrue(uint256(to) >= uint256(from) || newRound, "a round went back");
    }
}
