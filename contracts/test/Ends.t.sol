// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase, RoundView, Stage, Terms} from "../src/types/Types.sol";
import {LastWei} from "./support/LastWei.sol";
import {vm} from "./support/Vm.sol";

/// @notice Invariant 3: from each phase, time and `advance` alone reach the end, and everybody takes out the last wei.
contract EndsTest is LastWei {
    function setUp() public {
        deploy(4, 24);
    }

    function test_timeAlone_fromWaiting() public {
        enrolAll();
        postAndAccept(terms());
        join(workers[0], 3);
        endAndWithdraw();
    }

    function test_timeAlone_fromSeed() public {
        enrolAll();
        postAndAccept(terms());
        join(workers[0], 4);
        assertPhase(Phase.Seed);
        endAndWithdraw();
    }

    function test_timeAlone_fromCommit_withOneSeal() public {
        openRound();
        sealWork(2, TRUE);
        endAndWithdraw();
    }

    function test_timeAlone_fromDraw() public {
        openRound();
        sealAll(NOBODY, TRUE);
        assertPhase(Phase.Draw);
        endAndWithdraw();
    }

    function test_timeAlone_fromCheck() public {
        openRound();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        sealCheck(first(market.roundOf(job).drawn), TRUE);
        endAndWithdraw();
    }

    function test_timeAlone_fromReveal_withHalfOpened() public {
        _toReveal();
        open(Stage.Work, first(market.roundOf(job).drawn), 0, TRUE);
        endAndWithdraw();
    }

    function test_timeAlone_fromGather_withAChallenge() public {
        openRound();
        honestToGather();
        gather(0, 15);
        challenge(0, verifiers[20], LIE);
        endAndWithdraw();
    }

    function test_timeAlone_fromVerdictSeal_withOneSeal() public {
        uint16 task = _toDispute();
        passTo(Phase.VerdictSeal);
        sealPanel(task, 1, TRUE);
        endAndWithdraw();
    }

    function test_timeAlone_fromVerdictOpen_withOneOpened() public {
        uint16 task = _toDispute();
        passTo(Phase.VerdictSeal);
        sealPanel(task, 0, TRUE);
        sealPanel(task, 1, LIE);
        passTo(Phase.VerdictOpen);
        openPanel(task, 1, LIE);
        endAndWithdraw();
    }

    function test_timeAlone_fromUpdate() public {
        openRound();
        honestToUpdate();
        endAndWithdraw();
    }

    function test_timeAlone_fromUpdateDraw() public {
        openRound();
        honestToUpdate();
        sealUpdate(TRUE);
        assertPhase(Phase.UpdateDraw);
        endAndWithdraw();
    }

    function test_timeAlone_fromUpdateCheck() public {
        openRound();
        honestToUpdate();
        sealUpdate(TRUE);
        pass();
        sealUpdateCheck(0, TRUE);
        sealUpdateCheck(4, LIE);
        endAndWithdraw();
    }

    function test_timeAlone_fromUpdateOpen() public {
        openRound();
        honestToUpdate();
        checkUpdate(TRUE, 2, LIE);
        open(Stage.UpdateCheck, TASKS, 2, LIE);
        endAndWithdraw();
    }

    function test_timeAlone_fromUpdateChallenge_challenged() public {
        openRound();
        honestToUpdate();
        checkUpdate(TRUE, NOBODY, TRUE);
        openUpdate(TRUE, NOBODY, TRUE);
        uint256 outsider = 0;
        while (_seated(verifiers[outsider])) ++outsider;
        challenge(TASKS, verifiers[outsider], LIE);
        endAndWithdraw();
    }

    function test_timeAlone_fromUpdateVerdict() public {
        openRound();
        honestToUpdate();
        checkUpdate(TRUE, 4, LIE);
        openUpdate(TRUE, 4, LIE);
        passTo(Phase.UpdateVerdictSeal);
        sealPanel(TASKS, 0, TRUE);
        passTo(Phase.UpdateVerdictOpen);
        endAndWithdraw();
    }

    /// @notice A whole roster of 256 tasks settles in portions, each within the gas of one transaction.
    function test_largestRound_settlesInPortions() public {
        Terms memory t = terms();
        (t.tasks, t.checks, t.minVerifiers, t.minWorkers) = (256, 16, 22, 4);
        (t.bond, t.coordinatorBond) = (3 * W * 16 + 3 * F, 256 * W + 3 * U);
        t.rounds = 1;
        _raiseLimits();
        openRound(t);
        for (uint16 i = 0; i < 256; ++i) {
            sealWork(i, TRUE);
        }
        vm.roll(market.roundOf(job).beaconBlock + 1);
        uint256 gas0 = gasleft();
        market.advance(job);
        assertTrue(gas0 - gasleft() < 8_000_000, "the draw of 256 tasks fits a transaction");
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        passTo(Phase.Finalise);
        uint256 calls = 0;
        while (phase() == Phase.Finalise) {
            gas0 = gasleft();
            market.advance(job);
            assertTrue(gas0 - gasleft() < 8_000_000, "a portion fits a transaction");
            ++calls;
        }
        assertTrue(calls >= 3, "in portions");
        endAndWithdraw();
    }

    // --- inside ---

    function _raiseLimits() private {
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(workers[i]);
            vault.authorise(operatorOf(workers[i]), 1e12);
        }
    }

    function _toReveal() private {
        openRound();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        assertPhase(Phase.Reveal);
    }

    function _toDispute() private returns (uint16 task) {
        openRound();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        task = first(market.roundOf(job).drawn);
        checkAll(task, LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        gatherAll();
        assertPhase(Phase.Gather);
    }

    function _seated(address provider) private view returns (bool) {
        for (uint16 s = 0; s < 5; ++s) {
            if (holder(Stage.UpdateCheck, TASKS, s) == provider) return true;
        }
        return false;
    }
}
