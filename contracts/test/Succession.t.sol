// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Phase, Stage} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";
import {vm} from "./support/Vm.sol";

/// @notice When the coordinator is late, gatherers that posted propose in its place, in turn, each locking C.
contract SuccessionTest is Scales {
    int256 private constant u = int256(uint256(U));
    int256 private constant b = int256(uint256(B));
    int256 private constant c = int256(uint256(C));
    address[3] private gatherers;
    uint64 private start;

    function setUp() public {
        deploy(4, 24);
        openRound();
        honestToGather();
        for (uint16 s = 0; s < 3; ++s) {
            gatherers[s] = holder(Stage.UpdateCheck, TASKS, s);
        }
        weigh();
        dueForOthers(NOBODY);
    }

    function test_nobodyPosted_nobodyFollows() public {
        pass();
        assertPhase(Phase.Seed); // the next round: nothing is included either
    }

    function test_gatherers_followInTurn() public {
        _late(7);
        _tooEarly(1, start + 3);
        _tooEarly(2, start + 6);
        vm.roll(start + 3);
        _tooEarly(2, start + 6);
        uint256 before = vm.snapshotState();
        sealSuccession(1, TRUE);
        vm.revertToState(before);
        sealSuccession(0, TRUE); // whose turn came before keeps it
        assertPhase(Phase.UpdateDraw);
    }

    function test_turns_areSharedByThosePosted() public {
        _late(5); // seats 0 and 2
        vm.prank(operatorOf(gatherers[1]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 1, address(0)));
        market.sealSuccession(job, 0, 1, "hash");
        _tooEarly(2, start + 5);
        vm.roll(start + 5);
        sealSuccession(2, TRUE);
    }

    function test_succession_isForTheGatherersOperatorsOnly_andInItsPhase() public {
        _late(7);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 0, gatherers[0]));
        market.sealSuccession(job, 0, 0, "hash");
        vm.prank(operatorOf(coordinatorOwner));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Succession));
        market.sealUpdate(job, 0, "hash");
        sealSuccession(0, TRUE);
        vm.prank(operatorOf(gatherers[1]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.UpdateDraw));
        market.sealSuccession(job, 0, 1, "hash");
    }

    function test_successor_isPaid_andItsBondComesBack_theCoordinatorKeepsItsPost() public {
        _late(7);
        uint256 locked = vault.lockedOf(gatherers[0]);
        sealSuccession(0, TRUE);
        assertEq(vault.lockedOf(gatherers[0]) - locked, C, "C is locked");
        _checkAndOpen(TRUE, TRUE);
        pass();
        due(gatherers[0], u);
        _dueOthers(u, u);
        balance(0);
        assertEq(market.jobOf(job).updates, 1, "its update is the state");
        assertEq(market.jobOf(job).coordinatorProvider, coordinatorOwner, "the post stays");
        assertEq(vault.lockedOf(gatherers[0]), locked, "C came back");
    }

    function test_successor_neverChecksItsOwnUpdate() public {
        _late(7);
        sealSuccession(0, TRUE);
        pass();
        vm.prank(operatorOf(gatherers[0]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 0, address(0)));
        market.sealUpdateCheck(job, 0, 0, 0, "hash");
        for (uint16 seat = 3; seat < 5; ++seat) {
            for (uint8 turn = 0; turn < 4; ++turn) {
                assertTrue(candidate(Stage.UpdateCheck, TASKS, seat, turn) != gatherers[0], "checks itself");
            }
        }
    }

    function test_lyingSuccessor_losesC_andTheCoordinatorNothing() public {
        _late(7);
        sealSuccession(0, LIE);
        _checkAndOpen(LIE, TRUE);
        assertPhase(Phase.UpdateVerdictDraw);
        panel(TASKS, TRUE, TRUE, TRUE);
        for (uint16 s = 0; s < 3; ++s) {
            due(market.sealOf(job, 0, Stage.UpdatePanel, TASKS, s).provider, u);
        }
        due(gatherers[0], -c);
        _dueOthers(u, u);
        due(gatherers[1], int256(uint256(B / 10))); // the lowest seat that opened the truth
        balance(C - 3 * U - B / 10);
        assertEq(market.jobOf(job).coordinatorProvider, coordinatorOwner, "the post stays");
        assertEq(market.jobOf(job).updates, 1, "the verdict is the update");
    }

    function test_unopenedSuccessor_losesC() public {
        _late(7);
        sealSuccession(0, TRUE);
        pass();
        for (uint16 s = 1; s < 5; ++s) {
            sealUpdateCheck(s, TRUE);
        }
        for (uint16 s = 1; s < 5; ++s) {
            open(Stage.UpdateCheck, TASKS, s, TRUE);
        }
        pass();
        assertPhase(Phase.UpdateVerdictDraw);
        panel(TASKS, TRUE, TRUE, TRUE);
        for (uint16 s = 0; s < 3; ++s) {
            due(market.sealOf(job, 0, Stage.UpdatePanel, TASKS, s).provider, u);
        }
        due(gatherers[0], -c);
        _dueOthers(u, u);
        due(gatherers[1], int256(uint256(B / 10)));
        balance(C - 3 * U - B / 10);
    }

    function test_dissentWithoutALead_costsTheSuccessorItsShare_andNoPost() public {
        _late(7);
        sealSuccession(0, TRUE);
        _checkAndOpen(TRUE, LIE);
        panel(TASKS, TRUE, LIE, OTHER_LIE);
        int256 cost = 3 * u;
        for (uint16 s = 0; s < 3; ++s) {
            due(market.sealOf(job, 0, Stage.UpdatePanel, TASKS, s).provider, u);
        }
        due(gatherers[0], -(cost / 2));
        due(gatherers[1], u - (cost - cost / 2)); // the lowest dissenter
        due(gatherers[2], u);
        balance(0);
        assertEq(market.jobOf(job).coordinatorProvider, coordinatorOwner, "the post stays");
        assertEq(market.jobOf(job).updates, 0, "no update");
    }

    function test_dissentThatNobodyJudges_costsTheSuccessorNothing() public {
        _late(7);
        sealSuccession(0, TRUE);
        _checkAndOpen(TRUE, LIE);
        passTo(Phase.Seed);
        _dueOthers(u, 0);
        balance(0);
    }

    function test_bothDrawnUnanswered_freesTheSuccessor() public {
        _late(7);
        sealSuccession(0, TRUE);
        passTo(Phase.Seed);
        for (uint16 s = 0; s < 3; ++s) {
            due(gatherers[s], u);
        }
        balance(0);
    }

    function test_nobodyFollows_theRoundEndsWithoutAnUpdate() public {
        _late(7);
        pass();
        assertPhase(Phase.Seed);
        for (uint16 s = 0; s < 3; ++s) {
            due(gatherers[s], u);
        }
        balance(0);
        assertEq(market.jobOf(job).failedRounds, 1, "a failed round");
    }

    function test_successorsUpdate_isNotItsOwnToChallenge() public {
        _late(7);
        sealSuccession(0, TRUE);
        _checkAndOpen(TRUE, TRUE);
        vm.prank(operatorOf(gatherers[0]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.OwnWork.selector, gatherers[0]));
        market.challenge(job, 0, TASKS, gatherers[0], "hash");
    }

    // --- inside ---

    /// @dev The gatherers of `posted` post, the coordinator is late.
    function _late(uint256 posted) private {
        for (uint16 s = 0; s < 3; ++s) {
            if ((posted >> s) & 1 == 1) gather(s, 15);
        }
        pass();
        assertPhase(Phase.Update);
        pass();
        assertPhase(Phase.Succession);
        start = uint64(block.number);
    }

    function _tooEarly(uint8 seat, uint64 from) private {
        vm.prank(operatorOf(gatherers[seat]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SuccessionTooEarly.selector, seat, from));
        market.sealSuccession(job, 0, seat, "hash");
    }

    function _checkAndOpen(uint256 proposal, uint256 check) private {
        pass();
        for (uint16 s = 1; s < 5; ++s) {
            sealUpdateCheck(s, check);
        }
        open(Stage.Update, TASKS, 1, proposal);
        for (uint16 s = 1; s < 5; ++s) {
            open(Stage.UpdateCheck, TASKS, s, check);
        }
    }

    /// @dev What the two other gatherers and the two drawn are due for their checks.
    function _dueOthers(int256 gatherer, int256 drawn) private {
        due(gatherers[1], gatherer);
        due(gatherers[2], gatherer);
        for (uint16 s = 3; s < 5; ++s) {
            due(market.sealOf(job, 0, Stage.UpdateCheck, TASKS, s).provider, drawn);
        }
    }
}
