// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Phase, RoundView, Stage} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";
import {vm} from "./support/Vm.sol";

/// @notice Candidates of a check follow each other by the clock and by passes; what stays unanswered is drawn once more.
contract TurnsTest is Scales {
    uint16 private task;
    uint16 private other;
    uint64 private start;

    function setUp() public {
        deploy(4, 24);
        openRound();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        uint256 drawn = market.roundOf(job).drawn;
        task = first(drawn);
        other = first(drawn & ~(uint256(1) << task));
        start = uint64(block.number);
        weigh();
    }

    function test_turn_advancesEveryQuarterOfTheWindow() public {
        for (uint256 elapsed = 0; elapsed < WINDOW; ++elapsed) {
            vm.roll(start + elapsed);
            uint8 turn = uint8(4 * elapsed / WINDOW);
            assertEq(market.turnOf(job, Stage.Check, task, 0), turn, "turn");
            if (turn < 3) _refused(turn + 1, turn);
        }
    }

    function test_everyCandidateWhoseTurnHasCome_mayAnswer() public {
        for (uint8 turn = 0; turn < 4; ++turn) {
            uint256 before = vm.snapshotState();
            vm.roll(start + WINDOW - 1);
            sealCheckInTurn(task, turn, TRUE);
            address sealer = market.sealOf(job, 0, Stage.Check, task, 0).provider;
            assertEq(sealer, candidate(Stage.Check, task, 0, turn), "its candidate sealed");
            vm.revertToState(before);
        }
        vm.roll(start + WINDOW - 1);
        _refused(4, 3);
    }

    function test_pass_letsTheNextAnswerAtOnce_andIsFree() public {
        passCheck(task, 0);
        _refused(0, 1);
        sealCheckInTurn(task, 1, TRUE);
        sealCheck(other, TRUE);
        due(candidate(Stage.Check, task, 0, 1), int256(uint256(F)));
        due(holder(Stage.Check, other, 0), int256(uint256(F)));
        _finishHonestly();
    }

    function test_pass_isRefused_twice_afterASeal_andToOthers() public {
        passCheck(task, 0);
        address first_ = candidate(Stage.Check, task, 0, 0);
        vm.prank(operatorOf(first_));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTurn.selector, task, 0, 0, 1));
        market.pass(job, 0, Stage.Check, task, 0, 0);
        address second = candidate(Stage.Check, task, 0, 1);
        vm.prank(operatorOf(first_));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, task, 0, second));
        market.pass(job, 0, Stage.Check, task, 0, 1);
        sealCheck(other, TRUE);
        vm.prank(operatorOf(holder(Stage.Check, other, 0)));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadySealed.selector, other, 0));
        market.pass(job, 0, Stage.Check, other, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotDrawn.selector, 300));
        market.pass(job, 0, Stage.Check, 300, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, task, 1, address(0)));
        market.pass(job, 0, Stage.Check, task, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Check));
        market.pass(job, 0, Stage.UpdateCheck, TASKS, 3, 0);
    }

    function test_unanswered_areDrawnOnceMore_byAnotherBeacon() public {
        sealCheck(task, TRUE);
        passCheck(other, 0);
        address[4] memory before = _candidates(other);
        pass();
        assertPhase(Phase.Redraw);
        pass();
        assertPhase(Phase.Recheck);
        RoundView memory r = market.roundOf(job);
        assertTrue(r.redraw != 0 && r.redraw != r.draw, "a beacon of its own");
        address[4] memory after_ = _candidates(other);
        assertTrue(keccak256(abi.encode(before)) != keccak256(abi.encode(after_)), "drawn again");
        assertEq(market.turnOf(job, Stage.Check, other, 0), 0, "passes of the first draw are over");
        sealCheck(other, TRUE);
        assertPhase(Phase.Reveal);
        due(market.sealOf(job, 0, Stage.Check, task, 0).provider, int256(uint256(F)));
        due(market.sealOf(job, 0, Stage.Check, other, 0).provider, int256(uint256(F)));
        _finishHonestly();
    }

    function test_answered_areNotDrawnAgain() public {
        sealCheck(task, TRUE);
        sealCheck(other, TRUE);
        assertPhase(Phase.Reveal);
        assertEq(market.roundOf(job).redraw, bytes32(0), "no second draw");
    }

    function test_oneOfTwo_unansweredTwice_voidsTheRound() public {
        sealCheck(task, TRUE);
        address checker = holder(Stage.Check, task, 0);
        passTo(Phase.Recheck);
        address again = candidate(Stage.Check, task, 0, 0);
        vm.prank(operatorOf(again));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadySealed.selector, task, 0));
        market.sealCheck(job, 0, task, 0, "hash");
        pass();
        assertEq(market.jobOf(job).failedRounds, 1, "void");
        due(checker, int256(uint256(F)));
        balance(0);
    }

    function test_drawnUpdateSeats_followInTurn_gatherersDoNot() public {
        sealCheck(task, TRUE);
        sealCheck(other, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        gatherAll();
        passTo(Phase.Update);
        sealUpdate(TRUE);
        pass();
        assertPhase(Phase.UpdateCheck);
        uint64 began = uint64(block.number);
        address drawn = candidate(Stage.UpdateCheck, TASKS, 3, 0);
        vm.prank(operatorOf(drawn));
        market.pass(job, 0, Stage.UpdateCheck, TASKS, 3, 0);
        assertEq(market.turnOf(job, Stage.UpdateCheck, TASKS, 3), 1, "passed on");
        address gatherer = holder(Stage.UpdateCheck, TASKS, 0);
        vm.prank(operatorOf(gatherer));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 0, address(0)));
        market.pass(job, 0, Stage.UpdateCheck, TASKS, 0, 0);
        vm.roll(began + WINDOW - 1);
        assertEq(market.turnOf(job, Stage.UpdateCheck, TASKS, 0), 0, "a gatherer's seat is its own");
        address next = candidate(Stage.UpdateCheck, TASKS, 3, 3);
        vm.prank(operatorOf(next));
        market.sealUpdateCheck(job, 0, 3, 3, "hash");
        assertEq(market.sealOf(job, 0, Stage.UpdateCheck, TASKS, 3).provider, next, "the fourth candidate");
    }

    function test_turnOf_isKnownInItsWindowOnly() public {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Check));
        market.turnOf(job, Stage.UpdateCheck, TASKS, 3);
        passTo(Phase.Redraw);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Redraw));
        market.turnOf(job, Stage.Check, task, 0);
    }

    // --- inside ---

    function _candidates(uint16 q) private view returns (address[4] memory found) {
        for (uint8 turn = 0; turn < 4; ++turn) {
            found[turn] = candidate(Stage.Check, q, 0, turn);
        }
    }

    function _refused(uint8 turn, uint8 current) private {
        address who = candidate(Stage.Check, task, 0, turn);
        vm.prank(operatorOf(who));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTurn.selector, task, 0, turn, current));
        market.sealCheck(job, 0, task, turn, "hash");
    }

    /// @dev To the end of the round without an update: every worker is paid.
    function _finishHonestly() private {
        for (uint16 t = 0; t < TASKS; ++t) {
            (, address provider) = workerOf(t);
            due(provider, int256(uint256(W)));
        }
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        passTo(Phase.Seed);
        balance(0);
    }
}
