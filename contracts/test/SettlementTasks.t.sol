// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase, RoundView, Stage} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";

/// @notice Every way a task without a challenge can come out, to the last unit. No updates are proposed here.
contract SettlementTasksTest is Scales {
    int256 private constant w = int256(uint256(W));
    int256 private constant f = int256(uint256(F));
    int256 private constant b = int256(uint256(B));
    uint256 private constant TENTH = B / 10;

    address private worker;
    address private checker;
    uint16 private task;
    address[3] private seats;

    function setUp() public {
        deploy(4, 12);
        openRound();
        weigh();
    }

    // --- unopened ---

    function test_undrawnUnopened_losesHalfItsPayAndItsPlace() public {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        RoundView memory r = market.roundOf(job);
        _parties(first(r.sealedTasks & ~r.drawn));
        for (uint16 t = 0; t < TASKS; ++t) {
            if (t != task) open(Stage.Work, t, 0, TRUE);
            if ((r.drawn >> t) & 1 == 1) open(Stage.Check, t, 0, TRUE);
        }
        dueForOthers(task);
        due(worker, -int256(uint256(W / 2)));
        _toEnd();
        balance(W / 2);
        assertEq(market.jobOf(job).workerSlots, 3, "its slot left the roster");
        assertEq(vault.lockedOf(worker), 0, "the rest of its bond is free");
    }

    function test_drawnUnopened_losesItsBond_andTheCheckIsPaid() public {
        _toReveal(TRUE);
        _openAllBut(task, true, false);
        due(worker, -b);
        due(checker, f);
        _toEnd();
        balance(B);
    }

    function test_bothUnopened_bothLoseTheirBonds() public {
        _toReveal(TRUE);
        _openAllBut(task, true, true);
        due(worker, -b);
        due(checker, -b);
        _toEnd();
        balance(2 * uint256(B));
    }

    // --- unanswered ---

    function test_tooManyUnanswered_voidsTheRound_paysOnlyAnsweredChecks() public {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        task = first(market.roundOf(job).drawn);
        checker = holder(Stage.Check, task, 0);
        sealCheck(task, TRUE);
        due(checker, f);
        pass();
        assertPhase(Phase.Redraw);
        pass();
        assertPhase(Phase.Recheck);
        pass();
        assertEq(market.jobOf(job).failedRounds, 1, "a void round failed");
        assertEq(market.jobOf(job).workerSlots, 4, "nobody lost its place");
        balance(0);
    }

    // --- dissents with a lead ---

    function test_dissent_verdictForTheWorker_slashesTheChecker() public {
        _toReveal(LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        _toVerdict();
        _vote(TRUE, TRUE, TRUE);
        due(worker, w);
        due(checker, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F);
    }

    function test_dissent_verdictForTheChecker_slashesTheWorker_paysTheRaiser() public {
        _toRevealWithLyingWorker();
        _toVerdict();
        _vote(TRUE, TRUE, TRUE);
        assertEq((market.roundOf(job).included >> task) & 1, 0, "rejected results are not included");
        due(worker, -b);
        due(checker, f + int256(TENTH));
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F - TENTH);
        assertEq(market.jobOf(job).workerSlots, 3, "the liar left the roster");
    }

    function test_dissent_verdictForNeither_slashesBoth_paysNoRaiser() public {
        _toReveal(LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        _toVerdict();
        _vote(OTHER_LIE, OTHER_LIE, OTHER_LIE);
        due(worker, -b);
        due(checker, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(2 * B - 3 * F);
    }

    function test_dissent_losingAndSilentPanelMembersLoseTheirBonds() public {
        _toReveal(LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        passTo(Phase.VerdictSeal);
        for (uint16 i = 0; i < 3; ++i) {
            seats[i] = sealPanel(task, i, TRUE);
        }
        openPanel(task, 0, TRUE);
        openPanel(task, 1, TRUE);
        due(worker, w);
        due(checker, -b);
        _panelDue(f, f, -b);
        _toEnd();
        balance(2 * B - 2 * F);
    }

    function test_dissent_minorityOfThePanelIsSlashed() public {
        _toReveal(LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        _toVerdict();
        _vote(LIE, TRUE, TRUE);
        due(worker, w);
        due(checker, -b);
        _panelDue(-b, f, f);
        _toEnd();
        balance(2 * B - 2 * F);
    }

    function test_uncheckedOpening_verdictForTheWorker_slashesTheSilentChecker() public {
        _toReveal(LIE);
        _openAllBut(task, false, true);
        _toVerdict();
        _vote(TRUE, TRUE, TRUE);
        due(worker, w);
        due(checker, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F);
    }

    // --- dissents without a lead ---

    function test_dissentWithoutLead_halvesPayAndCosts() public {
        _toReveal(LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        _toVerdict();
        _vote(TRUE, LIE, OTHER_LIE);
        int256 cost = 3 * f;
        due(worker, int256(uint256(W / 2)) - cost / 2);
        due(checker, f - (cost - cost / 2));
        _panelDue(f, f, f);
        _toEnd();
        balance(W - W / 2);
        assertEq(market.jobOf(job).workerSlots, 3, "a touched slot bond ends the slot");
    }

    function test_silentChecker_withoutLead_paysThePanelAlone() public {
        _toReveal(LIE);
        _openAllBut(task, false, true);
        _toVerdict();
        _vote(TRUE, LIE, OTHER_LIE);
        due(worker, int256(uint256(W / 2)));
        due(checker, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F + (W - W / 2));
        assertEq(market.jobOf(job).workerSlots, 4, "the worker keeps its place");
    }

    function test_dissent_nobodyOnThePanel_costsTheSidesNothing() public {
        _toReveal(LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        due(worker, int256(uint256(W / 2)));
        due(checker, f);
        _toEnd();
        balance(W - W / 2);
    }

    function test_dissentWithoutLead_silentPanelMemberIsBurnt() public {
        _toReveal(LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        passTo(Phase.VerdictSeal);
        sealPanel(task, 1, TRUE);
        due(worker, int256(uint256(W / 2)));
        due(checker, f);
        due(holder(Stage.Panel, task, 1), -b);
        _toEnd();
        balance(B + (W - W / 2));
    }

    // --- inside ---

    function _parties(uint16 t) private {
        task = t;
        (, worker) = workerOf(t);
        if ((market.roundOf(job).drawn >> t) & 1 == 1) checker = holder(Stage.Check, t, 0);
    }

    /// @dev All seal the truth; the check of the first drawn task seals `check`.
    function _toReveal(uint256 check) private {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        _parties(first(market.roundOf(job).drawn));
        dueForOthers(task);
        checkAll(task, check);
        assertPhase(Phase.Reveal);
    }

    /// @dev All workers lie; the first drawn task is the one that is checked truthfully.
    function _toRevealWithLyingWorker() private {
        for (uint16 t = 0; t < TASKS; ++t) {
            sealWork(t, LIE);
        }
        passTo(Phase.Check);
        _parties(first(market.roundOf(job).drawn));
        dueForOthers(task);
        for (uint16 t = 0; t < TASKS; ++t) {
            if ((market.roundOf(job).drawn >> t) & 1 == 1) sealCheck(t, t == task ? TRUE : LIE);
        }
        RoundView memory r = market.roundOf(job);
        for (uint16 t = 0; t < TASKS; ++t) {
            open(Stage.Work, t, 0, LIE);
            if ((r.drawn >> t) & 1 == 1) open(Stage.Check, t, 0, t == task ? TRUE : LIE);
        }
    }

    function _openAllBut(uint16 t, bool noWork, bool noCheck) private {
        RoundView memory r = market.roundOf(job);
        for (uint16 i = 0; i < TASKS; ++i) {
            if (i != t || !noWork) open(Stage.Work, i, 0, TRUE);
            if ((r.drawn >> i) & 1 == 1 && (i != t || !noCheck)) open(Stage.Check, i, 0, TRUE);
        }
    }

    function _toVerdict() private {
        passTo(Phase.VerdictDraw);
    }

    function _vote(uint256 x, uint256 y, uint256 z) private {
        pass();
        seats = [holder(Stage.Panel, task, 0), holder(Stage.Panel, task, 1), holder(Stage.Panel, task, 2)];
        for (uint256 i = 0; i < 3; ++i) {
            assertTrue(seats[i] != worker && seats[i] != checker && seats[i] != address(0), "a side votes");
        }
        uint256[3] memory votes = [x, y, z];
        for (uint16 i = 0; i < 3; ++i) {
            sealPanel(task, i, votes[i]);
        }
        assertPhase(Phase.VerdictOpen);
        for (uint16 i = 0; i < 3; ++i) {
            openPanel(task, i, votes[i]);
        }
    }

    function _panelDue(int256 x, int256 y, int256 z) private {
        due(seats[0], x);
        due(seats[1], y);
        due(seats[2], z);
    }

    /// @dev Lets the round end without an update, in the next round's opening or between rounds.
    function _toEnd() private {
        for (uint256 i = 0; number() == 0 && i < 20; ++i) {
            pass();
        }
        assertEq(number(), 1, "the round is over");
    }
}
