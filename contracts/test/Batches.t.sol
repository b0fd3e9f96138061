// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {Works} from "../src/libraries/Works.sol";
import {Round} from "../src/types/State.sol";
import {Opening, Phase, Stage, TaskSeal, Terms} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";
import {vm} from "./support/Vm.sol";

/// @notice Seals and openings that travel together: all of them or none, and each with a bond of its own.
contract BatchesTest is Scales {
    uint16 private constant MANY = 12; // tasks, three for each of four slots
    uint32 private slot;
    address private worker;
    uint16[] private tasks; // of the slot

    function setUp() public {
        deploy(4, 12);
        openRound();
        (slot, worker) = workerOf(0);
        for (uint16 task = 0; task < MANY; ++task) {
            (uint32 other,) = workerOf(task);
            if (other == slot) tasks.push(task);
        }
        assertEq(tasks.length, 3, "tasks of a slot");
        weigh();
    }

    function terms() internal view override returns (Terms memory t) {
        t = super.terms();
        (t.tasks, t.bond, t.coordinatorBond) = (MANY, 3 * W * MANY / 2 + 3 * F, MANY * W + 3 * U);
    }

    // --- seals ---

    function test_batch_sealsEverything_andBindsABondForEachButTheSlots() public {
        uint256 bond = terms().bond;
        _seal(_batch());
        for (uint256 i = 0; i < tasks.length; ++i) {
            assertTrue((market.roundOf(job).sealedTasks >> tasks[i]) & 1 == 1, "sealed");
            assertEq(market.sealOf(job, 0, Stage.Work, tasks[i], 0).ofSlot ? 1 : 0, i == 0 ? 1 : 0, "of the slot");
        }
        assertEq(vault.lockedOf(worker), 3 * bond, "one bond behind each");
    }

    function test_batch_isAllOrNothing() public {
        uint256 locked = vault.lockedOf(worker);
        (uint16 foreign, bytes32 hash) = (_foreign(), "hash");
        TaskSeal[] memory seals = _batch();
        seals[2] = TaskSeal(foreign, hash);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTask.selector, foreign, slot));
        _seal(seals);
        seals[2] = TaskSeal(MANY, hash);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchTask.selector, MANY, MANY));
        _seal(seals);
        seals[2] = TaskSeal(tasks[2], 0);
        vm.expectRevert(IJobMarket.ZeroHash.selector);
        _seal(seals);
        assertEq(market.roundOf(job).sealedTasks, 0, "nothing is sealed");
        assertEq(vault.lockedOf(worker), locked, "nothing is locked");
    }

    function test_batch_sealsATaskOnce() public {
        TaskSeal[] memory seals = _batch();
        seals[2].task = seals[1].task;
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadySealed.selector, seals[1].task, 0));
        _seal(seals);
        seals = _batch();
        _seal(seals);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadySealed.selector, seals[0].task, 0));
        _seal(seals);
    }

    function test_batch_isTheOperatorsOnly_evenWhereItIsEmpty() public {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, worker, address(this)));
        market.sealTasks(job, 0, slot, _batch());
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, worker, address(this)));
        market.sealTasks(job, 0, slot, new TaskSeal[](0));
    }

    function test_batch_ofAnotherOperator_countsAgainstItsLimit() public {
        address second = address(0xBEEF);
        uint256 bond = terms().bond;
        vm.prank(worker);
        vault.authorise(second, bond);
        vm.prank(second);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.OperatorLimit.selector, worker, second, bond, 0, 2 * bond));
        market.sealTasks(job, 0, slot, _batch());
        vm.prank(worker);
        vault.authorise(second, 2 * bond);
        vm.prank(second);
        market.sealTasks(job, 0, slot, _batch());
        (, uint256 bySecond) = vault.operatorOf(worker, second);
        (, uint256 byFirst) = vault.operatorOf(worker, operatorOf(worker));
        assertEq(bySecond, 2 * bond, "the further ones");
        assertEq(byFirst, bond, "the slot's own");
        assertEq(uint256(uint160(market.sealOf(job, 0, Stage.Work, tasks[1], 0).operator)), uint160(second), "whose");
        _sealOthers();
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        while (number() == 0) pass();
        (, bySecond) = vault.operatorOf(worker, second);
        (, byFirst) = vault.operatorOf(worker, operatorOf(worker));
        assertEq(bySecond, 0, "unlocked");
        assertEq(byFirst, bond, "still the slot's own");
    }

    // --- openings ---

    function test_openings_travelTogether_allOrNothing() public {
        _toReveal();
        Opening[] memory openings = _openings();
        bytes32 right = openings[2].salt;
        openings[2].salt = "wrong";
        vm.expectRevert();
        market.open(job, 0, openings);
        assertEq(market.roundOf(job).openedTasks, 0, "nothing is open");
        (openings[2].salt, openings[1]) = (right, openings[0]);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyOpened.selector, tasks[0], 0));
        market.open(job, 0, openings);
        market.open(job, 0, _openings());
        for (uint256 i = 0; i < tasks.length; ++i) {
            assertTrue((market.roundOf(job).openedTasks >> tasks[i]) & 1 == 1, "opened");
        }
    }

    function test_opening_ofAnotherSeatOfATask_isRefused() public {
        _toReveal();
        Opening[] memory openings = _openings();
        openings[1].seat = 1;
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotSealed.selector, tasks[1], 1));
        market.open(job, 0, openings);
    }

    // --- inside ---

    function _batch() private view returns (TaskSeal[] memory seals) {
        seals = new TaskSeal[](tasks.length);
        for (uint256 i = 0; i < tasks.length; ++i) {
            seals[i] = TaskSeal(tasks[i], sealHash(Stage.Work, 0, tasks[i], worker, TRUE));
        }
    }

    function _openings() private view returns (Opening[] memory openings) {
        openings = new Opening[](tasks.length);
        for (uint256 i = 0; i < tasks.length; ++i) {
            openings[i] = Opening(Stage.Work, tasks[i], 0, outcomeOf(0, tasks[i], TRUE), saltOf(worker));
        }
    }

    function _seal(TaskSeal[] memory seals) private {
        vm.prank(operatorOf(worker));
        market.sealTasks(job, 0, slot, seals);
    }

    function _sealOthers() private {
        for (uint16 task = 0; task < MANY; ++task) {
            if ((market.roundOf(job).sealedTasks >> task) & 1 == 0) sealWork(task, TRUE);
        }
    }

    function _toReveal() private {
        _seal(_batch());
        _sealOthers();
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        assertPhase(Phase.Reveal);
    }

    function _foreign() private view returns (uint16 task) {
        while ((task == tasks[0]) || (task == tasks[1]) || (task == tasks[2])) ++task;
    }
}

/// @notice The order in which a round's tasks are settled.
contract WorksTest is Scales {
    Round private round;

    function testFuzz_taskAt_countsEveryTaskOnce_slotBySlot(uint16 tasks, uint16 slots) public {
        (tasks, slots) = (tasks % 256 + 1, slots % 256 + 1);
        round.workers = slots;
        uint256 seen = 0;
        uint256 last = 0;
        for (uint256 i = 0; i < tasks; ++i) {
            uint256 task = Works.taskAt(round, i, tasks);
            assertTrue(task < tasks && (seen >> task) & 1 == 0, "a task, once");
            seen |= uint256(1) << task;
            assertTrue(i == 0 || task == last + slots || task == last % slots + 1, "slot by slot");
            last = task;
        }
    }
}
