// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Phase, RoundView, Stage} from "../src/types/Types.sol";
import {Play} from "./support/Play.sol";
import {vm} from "./support/Vm.sol";

/// @notice Few providers with many slots, who are workers, verifiers and coordinator at once: who may judge whom.
contract SeatsTest is Play {
    uint256 private constant LIVES = 6;

    function setUp() public {
        deploy(0, 7);
        workers = verifiers;
        coordinatorOwner = verifiers[6];
    }

    function test_nobodyJudgesItsOwnWork() public {
        uint256 start = vm.snapshotState();
        uint256 checkersThatVote = 0;
        for (uint256 life = 0; life < LIVES; ++life) {
            vm.revertToState(start);
            start = vm.snapshotState();
            _open(life);
            _assertCheckers();
            uint16 task = _dispute();
            _assertPanel(task);
            passTo(Phase.Update);
            checkersThatVote += _assertUpdate();
        }
        assertTrue(checkersThatVote > 0, "who checked an update may vote on it");
    }

    function test_challenges_ofOwnWork_areRefused() public {
        _open(0);
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        (, address worker) = workerOf(0);
        vm.prank(operatorOf(worker));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.OwnWork.selector, worker));
        market.challenge(job, 0, 0, worker, "hash");
        gatherAll();
        passTo(Phase.Update);
        checkUpdate(TRUE, NOBODY, TRUE);
        openUpdate(TRUE, NOBODY, TRUE);
        vm.prank(operatorOf(coordinatorOwner));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.OwnWork.selector, coordinatorOwner));
        market.challenge(job, 0, TASKS, coordinatorOwner, "hash");
    }

    function test_gathererThatDidNotPost_doesNotCheckTheUpdate() public {
        _open(0);
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        gather(0, 15);
        passTo(Phase.Update);
        sealUpdate(TRUE);
        pass();
        sealUpdateCheck(0, TRUE);
        address silent = holder(Stage.UpdateCheck, TASKS, 1);
        vm.prank(operatorOf(silent));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 1, address(0)));
        market.sealUpdateCheck(job, 0, 1, 0, "hash");
    }

    function test_holderOf_knowsOnlyDrawnSeats() public {
        _open(0);
        RoundView memory r = market.roundOf(job);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotDrawn.selector, 0));
        market.holderOf(job, Stage.Work, 0, 0, 0);
        uint16 undrawn = first(~r.drawn);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotDrawn.selector, undrawn));
        market.holderOf(job, Stage.Check, undrawn, 0, 0);
        assertEq(holder(Stage.UpdateCheck, TASKS, 5), address(0), "there is no sixth seat of five");
        assertEq(holder(Stage.Panel, 0, 3), address(0), "there is no fourth seat of three");
    }

    // --- inside ---

    /// @dev To Check, with six slots for each provider, at another block in every life.
    function _open(uint256 life) private {
        vm.roll(2_000 + 137 * life);
        for (uint256 i = 0; i < verifiers.length; ++i) {
            vm.prank(operatorOf(verifiers[i]));
            market.enrol(verifiers[i], 6);
        }
        vm.roll(block.number + deploymentConfig().epochBlocks);
        postAndAccept(terms());
        for (uint256 i = 0; i < 4; ++i) {
            join(verifiers[i], 1);
        }
        toCommit();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
    }

    function _assertCheckers() private view {
        uint256 drawn = market.roundOf(job).drawn;
        for (uint16 t = 0; t < TASKS; ++t) {
            if ((drawn >> t) & 1 == 0) continue;
            (, address worker) = workerOf(t);
            assertTrue(holder(Stage.Check, t, 0) != worker, "a worker checks itself");
        }
    }

    /// @dev A dissent about one task, a challenge of another; to VerdictSeal.
    function _dispute() private returns (uint16 task) {
        uint256 drawn = market.roundOf(job).drawn;
        task = first(drawn);
        checkAll(task, LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        gatherAll();
        uint16 other = first(~drawn);
        (, address worker) = workerOf(other);
        address challenger = worker == verifiers[0] ? verifiers[1] : verifiers[0];
        challenge(other, challenger, LIE);
        passTo(Phase.VerdictSeal);
        for (uint16 s = 0; s < 3; ++s) {
            address member = holder(Stage.Panel, other, s);
            assertTrue(member != worker && member != challenger, "a side of the challenge votes");
        }
    }

    function _assertPanel(uint16 task) private view {
        (, address worker) = workerOf(task);
        address checker = market.sealOf(job, 0, Stage.Check, task, 0).provider;
        for (uint16 s = 0; s < 3; ++s) {
            address member = holder(Stage.Panel, task, s);
            assertTrue(member != worker && member != checker, "a side of the dissent votes");
        }
    }

    function _assertUpdate() private returns (uint256 checkersThatVote) {
        sealUpdate(TRUE);
        pass();
        for (uint16 s = 3; s < 5; ++s) {
            (uint32 slot, address provider) = market.holderOf(job, Stage.UpdateCheck, TASKS, s, 0);
            assertTrue(provider != coordinatorOwner, "the coordinator checks itself");
            for (uint16 g = 0; g < 3; ++g) {
                (uint32 gatherer,) = market.holderOf(job, Stage.UpdateCheck, TASKS, g, 0);
                assertTrue(slot != gatherer, "a slot checks twice");
            }
        }
        sealUpdateCheck(0, TRUE);
        sealUpdateCheck(3, TRUE);
        passTo(Phase.UpdateVerdictSeal); // nobody opens
        for (uint16 s = 0; s < 3; ++s) {
            address member = holder(Stage.UpdatePanel, TASKS, s);
            assertTrue(member != coordinatorOwner, "the coordinator votes");
            if (member == market.sealOf(job, 0, Stage.UpdateCheck, TASKS, 0).provider) ++checkersThatVote;
            if (member == market.sealOf(job, 0, Stage.UpdateCheck, TASKS, 3).provider) ++checkersThatVote;
        }
    }
}
