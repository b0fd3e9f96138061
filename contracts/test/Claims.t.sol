// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Phase, Stage, TaskResult} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";
import {vm} from "./support/Vm.sol";

/// @notice In the second half of Commit a slot may take over a task that nobody serves, and answers for it.
contract ClaimsTest is Scales {
    uint16 private task; // left unserved by its slot
    uint32 private owned;
    address private owner;
    uint32 private slot; // takes it over
    address private claimant;

    function setUp() public {
        deploy(4, 12);
        openRound();
        (owned, owner) = workerOf(0);
        for (uint16 t = 1; t < TASKS; ++t) {
            sealWork(t, TRUE);
        }
        (slot, claimant) = workerOf(1);
        weigh();
    }

    function test_claim_isRefused_inTheFirstHalf() public {
        uint64 half = market.roundOf(job).deadline - WINDOW / 2;
        vm.roll(half - 1);
        vm.prank(operatorOf(claimant));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.ClaimTooEarly.selector, task, half));
        market.claim(job, 0, task, slot);
        vm.roll(half);
        claim(task, slot, claimant);
    }

    function test_claim_locksABond_andPaysLikeAnyTask() public {
        _toHalf();
        uint256 locked = vault.lockedOf(claimant);
        claim(task, slot, claimant);
        assertEq(vault.lockedOf(claimant) - locked, B, "a bond of its own");
        _sealClaimed();
        assertEq(vault.lockedOf(claimant) - locked, B, "and no other");
        assertPhase(Phase.Draw);
        _finish();
        _duePaidTasks();
        due(claimant, int256(uint256(W)));
        _dueChecks();
        balance(0);
        assertEq(vault.lockedOf(claimant), B, "only its slot's bond stays locked");
    }

    function test_claimWithoutASeal_losesHalfThePay_andTheSlotsPlaceOnlyWithItsOwnBond() public {
        _toHalf();
        claim(task, slot, claimant);
        pass();
        assertPhase(Phase.Draw);
        _finish();
        _duePaidTasks();
        due(claimant, -int256(uint256(W / 2)));
        _dueChecks();
        balance(W / 2);
        assertEq(market.jobOf(job).workerSlots, 4, "the bond of the claim was another one");
    }

    function test_claimBackedByTheSlot_withoutASeal_endsTheSlot() public {
        // The owner of task 0 claims it itself: its slot's bond is still idle.
        _toHalf();
        claim(task, owned, owner);
        pass();
        _finish();
        _duePaidTasks();
        due(owner, -int256(uint256(W / 2)));
        _dueChecks();
        balance(W / 2);
        assertEq(market.jobOf(job).workerSlots, 3, "a slot holds a whole bond or none");
    }

    function test_claim_withoutAnySeal_isPenalisedInAnEmptyRound() public {
        passTo(Phase.Check);
        passTo(Phase.Seed);
        toSecondRound();
        weigh();
        (uint32 mine, address me) = workerOf(2);
        vm.roll(market.roundOf(job).deadline - WINDOW / 2);
        claim(2, mine, me);
        passTo(Phase.Ended);
        due(me, -int256(uint256(W / 2)));
        due(coordinatorOwner, 0);
        balance(W / 2);
    }

    function test_claimedTask_isServedByTheClaimantAlone() public {
        _toHalf();
        claim(task, slot, claimant);
        vm.prank(operatorOf(owner));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTask.selector, task, owned));
        market.sealTasks(job, 0, owned, oneSeal(task, "hash"));
        vm.prank(operatorOf(owner));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyClaimed.selector, task, slot));
        market.claim(job, 0, task, owned);
    }

    function test_ownerMayStillSeal_untilSomebodyClaims() public {
        _toHalf();
        sealWork(task, TRUE);
        assertPhase(Phase.Draw);
    }

    function test_slot_claimsOneTaskAtATime() public {
        // A second round in which nobody serves anything.
        passTo(Phase.Seed);
        toSecondRound();
        vm.roll(market.roundOf(job).deadline - WINDOW / 2);
        (uint32 mine, address me) = workerOf(3);
        claim(0, mine, me);
        vm.prank(operatorOf(me));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SlotClaims.selector, mine, 0));
        market.claim(job, 1, 1, mine);
        bytes32 hash = sealHash(Stage.Work, 1, 0, me, TRUE);
        vm.prank(operatorOf(me));
        market.sealTasks(job, 1, mine, oneSeal(0, hash));
        claim(1, mine, me);
    }

    function test_claims_areRefused_ofSealedTasks_missingTasks_byStrangersAndLeftSlots() public {
        _toHalf();
        vm.prank(operatorOf(claimant));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadySealed.selector, 1, 0));
        market.claim(job, 0, 1, slot);
        vm.prank(operatorOf(claimant));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchTask.selector, TASKS, TASKS));
        market.claim(job, 0, TASKS, slot);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, claimant, address(this)));
        market.claim(job, 0, task, slot);
        vm.prank(operatorOf(claimant));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchSlot.selector, 99));
        market.claim(job, 0, task, 99);
    }

    function test_slotWhoseTaskWasClaimed_mayBeDropped_theClaimantNot() public {
        _toHalf();
        claim(task, slot, claimant);
        _sealClaimed();
        passTo(Phase.Check);
        market.drop(job, owned, task);
        assertEq(market.jobOf(job).workerSlots, 3, "it left its task unserved");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTask.selector, task, slot));
        market.drop(job, slot, task);
    }

    // --- inside ---

    function toSecondRound() private {
        passTo(Phase.Commit);
        assertEq(number(), 1, "the second round");
    }

    function _toHalf() private {
        vm.roll(market.roundOf(job).deadline - WINDOW / 2);
    }

    function _sealClaimed() private {
        bytes32 hash = sealHash(Stage.Work, 0, task, claimant, TRUE);
        vm.prank(operatorOf(claimant));
        market.sealTasks(job, 0, slot, oneSeal(task, hash));
    }

    function _duePaidTasks() private {
        for (uint16 t = 1; t < TASKS; ++t) {
            address provider = market.sealOf(job, 0, Stage.Work, t, 0).provider;
            due(provider, int256(uint256(W)));
        }
    }

    function _dueChecks() private {
        for (uint16 t = 0; t < TASKS; ++t) {
            address checker = market.sealOf(job, 0, Stage.Check, t, 0).provider;
            if (checker != address(0)) due(checker, int256(uint256(F)));
        }
    }

    /// @dev Everything sealed is checked and opened; no update.
    function _finish() private {
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        while (number() == 0) pass();
    }
}
