// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Phase, Stage, Terms} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";
import {vm} from "./support/Vm.sol";

/// @notice Which results are included, which are paid, which are half burnt.
contract GatheringTest is Scales {
    int256 private constant w = int256(uint256(W));
    int256 private constant u = int256(uint256(U));
    uint256 private constant ALL = 15;

    function setUp() public {
        deploy(4, 12);
    }

    function terms() internal view override returns (Terms memory t) {
        t = super.terms();
        t.rounds = 1;
    }

    function test_heldByMost_isIncluded() public {
        _gathered(ALL, ALL, 0);
        assertEq(market.roundOf(job).included, ALL, "two of three");
    }

    function test_heldByFew_isLeftOut_andPaid() public {
        _gathered(ALL, ALL & ~uint256(1), ALL & ~uint256(1));
        assertEq(market.roundOf(job).included, ALL & ~uint256(1), "one of three is not most");
        _toEnd();
        balance(0);
    }

    function test_heldByNone_isHalfPaidHalfBurnt() public {
        _gathered(ALL & ~uint256(1), ALL & ~uint256(1), ALL & ~uint256(1));
        (, address worker) = workerOf(0);
        due(worker, int256(uint256(W / 2)) - w);
        _toEnd();
        balance(W - W / 2);
    }

    function test_heldByNoneOfOne_isLeftOut_andPaid() public {
        openRound();
        weigh();
        honestToGather();
        dueForOthers(NOBODY);
        due(gather(1, ALL & ~uint256(1)), u);
        passTo(Phase.Update);
        assertEq(market.roundOf(job).included, ALL & ~uint256(1), "the one gatherer decides");
        _toEnd();
        balance(0);
    }

    function test_nobodyGathered_everythingIsPaid_nothingIncluded() public {
        openRound();
        weigh();
        honestToGather();
        dueForOthers(NOBODY);
        pass();
        assertEq(uint256(phase()), uint256(Phase.Ended), "no update is possible");
        balance(0);
    }

    function test_nonFinite_isPaid_neverIncluded() public {
        openRound();
        weigh();
        // Task 2 diverges, and whoever checks it finds the same.
        sealAll(2, DIVERGED);
        passTo(Phase.Check);
        checkAll(2, DIVERGED);
        revealAll(2, DIVERGED, 2, DIVERGED);
        dueForOthers(NOBODY);
        for (uint16 s = 0; s < 3; ++s) {
            due(gather(s, ALL), u);
        }
        passTo(Phase.Update);
        assertEq(market.roundOf(job).included, ALL & ~uint256(4), "all but the one that diverged");
        _toEnd();
        balance(0);
    }

    function test_ownWork_doesNotCount_neitherHeldNorAsked() public {
        // Everybody is worker and verifier at once, so that gatherers meet their own work.
        workers = verifiers;
        openRound();
        honestToGather();
        uint16 mine = NOBODY;
        uint16 seat;
        for (uint16 t = 0; t < TASKS && mine == NOBODY; ++t) {
            (, address provider) = workerOf(t);
            for (uint16 s = 0; s < 3; ++s) {
                if (holder(Stage.UpdateCheck, TASKS, s) == provider) (mine, seat) = (t, s);
            }
        }
        assertTrue(mine != NOBODY, "no gatherer meets its own work in these blocks");
        // Two of three say they hold it, but one of the two computed it.
        gather(seat, ALL);
        gather((seat + 1) % 3, ALL);
        gather((seat + 2) % 3, ALL & ~(uint256(1) << mine));
        passTo(Phase.Update);
        assertEq((market.roundOf(job).included >> mine) & 1, 0, "the worker's own word does not include");
    }

    function test_gather_isRefused_twice_andFromOthers() public {
        openRound();
        honestToGather();
        gather(0, ALL);
        address provider = holder(Stage.UpdateCheck, TASKS, 0);
        vm.prank(operatorOf(provider));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyGathered.selector, 0));
        market.gather(job, 0, 0, ALL);
        address other = holder(Stage.UpdateCheck, TASKS, 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 1, other));
        market.gather(job, 0, 1, ALL);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 3, address(0)));
        market.gather(job, 0, 3, ALL);
    }

    // --- inside ---

    function _gathered(uint256 a, uint256 b, uint256 c) private {
        openRound();
        weigh();
        honestToGather();
        dueForOthers(NOBODY);
        due(gather(0, a), u);
        due(gather(1, b), u);
        due(gather(2, c), u);
        passTo(Phase.Update);
    }

    function _toEnd() private {
        passTo(Phase.Ended);
    }
}
