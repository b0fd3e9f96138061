// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Phase, RoundView, Stage} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";
import {vm} from "./support/Vm.sol";

/// @notice Every way a challenge of a task can come out, to the last unit.
contract SettlementChallengesTest is Scales {
    int256 private constant w = int256(uint256(W));
    int256 private constant f = int256(uint256(F));
    int256 private constant b = int256(uint256(B));
    uint256 private constant TENTH = B / 10;

    uint16 private task; // undrawn
    address private worker;
    address private challenger;
    address[3] private seats;
    uint256 private start;

    function setUp() public {
        deploy(4, 12);
        openRound();
        weigh();
        challenger = verifiers[11];
        start = vm.snapshotState();
    }

    function test_challengeRight_slashesTheWorker_paysTheRaiser() public {
        _challenge(LIE, TRUE);
        _vote([TRUE, TRUE, TRUE], TRUE, true);
        due(worker, -b);
        due(challenger, int256(TENTH));
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F - TENTH);
    }

    function test_challengeWrong_paysThePanel() public {
        _challenge(TRUE, LIE);
        _vote([TRUE, TRUE, TRUE], LIE, true);
        due(worker, w);
        due(challenger, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F);
    }

    function test_challengeWithAThirdOutcome_isSlashedBesideTheWorker() public {
        _challenge(LIE, OTHER_LIE);
        _vote([TRUE, TRUE, TRUE], OTHER_LIE, true);
        due(worker, -b);
        due(challenger, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(2 * B - 3 * F);
    }

    function test_challengeUnopened_isSlashed_thoughTheWorkerIsWrong() public {
        _challenge(LIE, TRUE);
        _vote([TRUE, TRUE, TRUE], TRUE, false);
        due(worker, -b);
        due(challenger, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(2 * B - 3 * F);
    }

    function test_challengeWithTheAccusedsOwnOutcome_isSlashed() public {
        _challenge(TRUE, TRUE);
        _vote([TRUE, TRUE, TRUE], TRUE, true);
        due(worker, w);
        due(challenger, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F);
    }

    function test_withoutLead_theResultStands_theChallengerPaysThePanel() public {
        _challenge(TRUE, LIE);
        _vote([TRUE, LIE, OTHER_LIE], LIE, true);
        due(worker, w);
        due(challenger, -3 * f);
        _panelDue(f, f, f);
        _toEnd();
        balance(0);
    }

    function test_withoutLead_unopenedChallenger_losesItsBond() public {
        _challenge(TRUE, LIE);
        _vote([TRUE, LIE, OTHER_LIE], LIE, false);
        due(worker, w);
        due(challenger, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F);
    }

    function test_withoutLead_challengerOfTheAccusedsOutcome_losesItsBond() public {
        _challenge(TRUE, TRUE);
        _vote([TRUE, LIE, OTHER_LIE], TRUE, true);
        due(worker, w);
        due(challenger, -b);
        _panelDue(f, f, f);
        _toEnd();
        balance(B - 3 * F);
    }

    function test_challengedAndChecked_theCheckOfALieIsSlashedToo() public {
        _checkedTask(LIE, LIE);
        address checker = holder(Stage.Check, task, 0);
        _raise(TRUE);
        _vote([TRUE, TRUE, TRUE], TRUE, true);
        due(worker, -b);
        due(checker, -b);
        due(challenger, int256(TENTH));
        _panelDue(f, f, f);
        _toEnd();
        balance(2 * B - 3 * F - TENTH);
    }

    function test_challengedAndChecked_theTrueCheckIsPaid() public {
        _checkedTask(TRUE, TRUE);
        address checker = holder(Stage.Check, task, 0);
        _raise(LIE);
        _vote([TRUE, TRUE, LIE], LIE, true);
        due(worker, w);
        due(checker, f);
        due(challenger, -b);
        _panelDue(f, f, -b);
        _toEnd();
        balance(2 * B - 2 * F);
    }

    function test_challenge_isRefused_twice_ofOwnWork_ofUnopenedTasks_fromOutside() public {
        _challenge(TRUE, LIE);
        uint16 other = task == 0 ? 1 : 0;
        vm.startPrank(operatorOf(verifiers[10]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyDisputed.selector, task));
        market.challenge(job, 0, task, verifiers[10], "hash");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotSealed.selector, 77, 0));
        market.challenge(job, 0, 77, verifiers[10], "hash");
        vm.expectRevert(IJobMarket.ZeroHash.selector);
        market.challenge(job, 0, other, verifiers[10], 0);
        vm.stopPrank();
        vm.prank(operatorOf(workers[0]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotEnrolled.selector, workers[0]));
        market.challenge(job, 0, other, workers[0], "hash");
    }

    // --- inside ---

    function _challenge(uint256 work, uint256 accusation) private {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        RoundView memory r = market.roundOf(job);
        task = first(r.sealedTasks & ~r.drawn);
        // The seals are in before the draw is known: play again with the liar in the right place.
        _replay(work, TRUE);
        _raise(accusation);
    }

    function _checkedTask(uint256 work, uint256 check) private {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        task = first(market.roundOf(job).drawn);
        _replay(work, check);
    }

    /// @dev The same blocks again, so the same draw: now `task` is answered with `work` and its check with `check`.
    function _replay(uint256 work, uint256 check) private {
        uint16 liar = task;
        vm.revertToState(start);
        task = liar;
        sealAll(liar, work);
        passTo(Phase.Check);
        (, worker) = workerOf(liar);
        dueForOthers(liar);
        checkAll(liar, check);
        revealAll(liar, work, liar, check);
        assertPhase(Phase.Gather);
    }

    function _raise(uint256 accusation) private {
        challenge(task, challenger, accusation);
    }

    function _vote(uint256[3] memory votes, uint256 accusation, bool opens) private {
        passTo(Phase.VerdictSeal);
        for (uint16 i = 0; i < 3; ++i) {
            seats[i] = sealPanel(task, i, votes[i]);
            assertTrue(seats[i] != worker && seats[i] != challenger, "a side votes");
        }
        if (opens) open(Stage.Challenge, task, 0, accusation);
        for (uint16 i = 0; i < 3; ++i) {
            openPanel(task, i, votes[i]);
        }
    }

    function _panelDue(int256 x, int256 y, int256 z) private {
        due(seats[0], x);
        due(seats[1], y);
        due(seats[2], z);
    }

    function _toEnd() private {
        for (uint256 i = 0; number() == 0 && i < 20; ++i) {
            pass();
        }
        assertEq(number(), 1, "the round is over");
    }
}
