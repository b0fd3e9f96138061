// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {Phase, Terms} from "../src/types/Types.sol";
import {Play} from "./support/Play.sol";
import {vm} from "./support/Vm.sol";

/// @notice Joining and leaving, and when nobody may.
contract RostersTest is Play {
    function setUp() public {
        deploy(6, 12);
    }

    function terms() internal view override returns (Terms memory t) {
        t = super.terms();
        t.rounds = 5;
        t.maxFailedRounds = 9;
    }

    // --- workers ---

    function test_roster_isFrozenFromSeedToDraw() public {
        enrolAll();
        postAndAccept(terms());
        for (uint256 i = 0; i < 4; ++i) {
            join(workers[i], 1);
        }
        _assertFrozen(Phase.Seed);
        toCommit();
        _assertFrozen(Phase.Commit);
        sealAll(NOBODY, TRUE);
        _assertFrozen(Phase.Draw);
        pass();
        join(workers[4], 1);
        assertEq(market.jobOf(job).workerSlots, 5, "open again in Check");
    }

    function test_join_isForOperators_withinTheirLimits() public {
        postAndAccept(terms());
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, workers[0], address(this)));
        market.join(job, workers[0], 1);
        vm.prank(workers[0]);
        vault.authorise(operatorOf(workers[0]), B - 1);
        vm.prank(operatorOf(workers[0]));
        vm.expectRevert(
            abi.encodeWithSelector(IStakeVault.OperatorLimit.selector, workers[0], operatorOf(workers[0]), B - 1, 0, B)
        );
        market.join(job, workers[0], 1);
    }

    function test_rosters_areBounded() public {
        postAndAccept(terms());
        join(workers[0], 256);
        vm.prank(operatorOf(workers[1]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RosterFull.selector, 256));
        market.join(job, workers[1], 1);
    }

    function test_leave_unlocksAtOnce_unlessTheBondBacksASeal() public {
        openRound();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        (uint32 slot, address provider) = workerOf(0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, provider, address(this)));
        market.leave(job, slot);
        vm.prank(provider); // the owner itself, without a hot key
        market.leave(job, slot);
        assertEq(vault.lockedOf(provider), B, "its bond backs a seal");
        join(workers[5], 1);
        vm.prank(operatorOf(workers[5]));
        market.leave(job, 5);
        assertEq(vault.lockedOf(workers[5]), 0, "an idle bond is free");
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        passTo(Phase.Waiting);
        assertEq(vault.lockedOf(provider), 0, "free when its seal is settled");
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchSlot.selector, slot));
        market.leave(job, slot);
        assertBooks();
    }

    function test_drop_takesOnlyWhoLeftTheTaskUnserved() public {
        openRound();
        for (uint16 t = 1; t < TASKS; ++t) {
            sealWork(t, TRUE);
        }
        (uint32 lazy, address provider) = workerOf(0);
        (uint32 busy,) = workerOf(1);
        passTo(Phase.Check);
        join(workers[4], 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SlotServed.selector, busy, 0));
        market.drop(job, busy, 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTask.selector, 0, busy));
        market.drop(job, busy, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTask.selector, 0, 5));
        market.drop(job, 5, 0); // joined late: holds no task
        market.drop(job, lazy, 0);
        assertEq(vault.lockedOf(provider), 0, "dropped, not slashed");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchSlot.selector, lazy));
        market.drop(job, lazy, 0);
    }

    /// @notice A slot that moved by swap-and-pop keeps its place of the opening, in the round and after it.
    function test_drop_remembersWhereASlotStood() public {
        Terms memory t = terms();
        (t.checks, t.minVerifiers) = (TASKS, 10); // every sealed task is drawn
        openRound(t);
        pass(); // nobody sealed: the round is over, the next one opens
        toCommit();
        uint32[4] memory slots;
        for (uint16 i = 0; i < TASKS; ++i) {
            (slots[i],) = workerOf(i);
        }
        sealWork(3, TRUE);
        passTo(Phase.Check);
        market.drop(job, slots[0], 0);
        market.drop(job, slots[1], 1);
        passTo(Phase.Waiting); // unanswered: the round is void
        assertEq(market.jobOf(job).workerSlots, 2, "two are left");
        market.drop(job, slots[2], 2);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SlotServed.selector, slots[3], 1));
        market.drop(job, slots[3], 3);
    }

    function test_drop_beforeAnyRound_isRefused() public {
        postAndAccept(terms());
        join(workers[0], 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Waiting));
        market.drop(job, 1, 0);
    }

    function test_oneSlot_manyTasks_locksABondForEach() public {
        Terms memory t = terms();
        t.minWorkers = 1;
        openRound(t);
        sealAll(NOBODY, TRUE);
        assertEq(vault.lockedOf(workers[0]), 4 * uint256(B), "one bond behind each seal");
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        pass();
        assertEq(vault.lockedOf(workers[0]), B, "its slot keeps one");
        assertEq(vault.creditOf(workers[0]), 4 * uint256(W), "pay");
    }

    // --- verifiers ---

    function test_enrol_countsFromTheNextEpoch_forEver() public {
        vm.roll(1_005); // epoch 50
        vm.prank(operatorOf(verifiers[0]));
        market.enrol(verifiers[0], 3);
        vm.roll(1_025);
        vm.startPrank(operatorOf(verifiers[1]));
        market.enrol(verifiers[1], 1);
        vm.stopPrank();
        vm.prank(operatorOf(verifiers[0]));
        market.retire(1);
        assertEq(_rosterSize(50), 0, "epoch 50");
        assertEq(_rosterSize(51), 3, "epoch 51");
        assertEq(_rosterSize(52), 3, "epoch 52");
        (uint32[] memory slots, address[] memory providers) = market.verifierRoster(52);
        assertEq(slots[0], 4, "the last one moved into the gap");
        assertEq(providers[0], verifiers[1], "its provider");
        (slots,) = market.verifierRoster(51);
        assertEq(slots[0], 1, "the past does not change");
    }

    function test_release_waitsForTheLastRoundThatMayDrawTheSlot() public {
        vm.roll(1_000);
        vm.prank(operatorOf(verifiers[0]));
        market.enrol(verifiers[0], 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchSlot.selector, 1));
        market.release(1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, verifiers[0], address(this)));
        market.retire(1);
        vm.prank(verifiers[0]);
        market.retire(1);
        vm.prank(verifiers[0]);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchSlot.selector, 1));
        market.retire(1);
        uint256 longest = market.longestRound();
        assertEq(longest, 14 * 1_000 + 6 * 3, "longest round");
        uint64 until = uint64(51 + (longest + 19) / 20 + 1);
        vm.roll(until * 20 - 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.SlotBonded.selector, 1, until));
        market.release(1);
        vm.roll(until * 20);
        market.release(1);
        assertEq(vault.lockedOf(verifiers[0]), 0, "free");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchSlot.selector, 1));
        market.release(1);
    }

    /// @notice Any sequence of enrolments and retirements: each epoch's roster holds each slot at most once,
    /// and the next one exactly those that are enrolled and not retired.
    function testFuzz_verifierRosters_areSets(uint256 moves) public {
        uint32 next = 1;
        for (uint256 i = 0; i < 12; ++i) {
            uint256 move = moves >> (i * 20);
            vm.roll(block.number + (move >> 8) % 30);
            if (move % 3 != 0 || next == 1) {
                uint16 n = uint16(1 + (move >> 4) % 3);
                vm.prank(operatorOf(verifiers[i]));
                market.enrol(verifiers[i], n);
                next += n;
            } else {
                _tryRetire(uint32(1 + (move >> 4) % (next - 1)));
            }
        }
        for (uint64 e = 50; e <= market.epoch(); ++e) {
            _assertSet(e, next);
        }
        bool[] memory seen = _assertSet(market.epoch() + 1, next);
        for (uint32 slot = 1; slot < next; ++slot) {
            assertTrue(seen[slot] != retired[slot], "enrolled and not retired, or the other way round");
        }
    }

    mapping(uint32 slot => bool) private retired;

    function _tryRetire(uint32 slot) private {
        for (uint256 v = 0; v < verifiers.length; ++v) {
            vm.prank(verifiers[v]);
            try market.retire(slot) {
                retired[slot] = true;
                return;
            } catch {}
        }
    }

    function _assertSet(uint64 e, uint32 next) private view returns (bool[] memory seen) {
        (uint32[] memory slots,) = market.verifierRoster(e);
        seen = new bool[](next);
        for (uint256 i = 0; i < slots.length; ++i) {
            assertTrue(slots[i] != 0 && slots[i] < next && !seen[slots[i]], "a slot twice, or none");
            seen[slots[i]] = true;
        }
    }

    function _rosterSize(uint64 e) private view returns (uint256) {
        (uint32[] memory slots,) = market.verifierRoster(e);
        return slots.length;
    }

    function _assertFrozen(Phase p) private {
        bytes memory frozen = abi.encodeWithSelector(IJobMarket.RosterFrozen.selector, job, p);
        vm.startPrank(operatorOf(workers[0]));
        vm.expectRevert(frozen);
        market.join(job, workers[0], 1);
        vm.expectRevert(frozen);
        market.leave(job, 1);
        vm.expectRevert(frozen);
        market.drop(job, 1, 0);
        vm.stopPrank();
    }
}
