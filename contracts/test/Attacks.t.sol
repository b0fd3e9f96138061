// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {NONFINITE} from "../src/libraries/Sealing.sol";
import {JobId, Outcome, Phase, RoundView, Stage, Terms} from "../src/types/Types.sol";
import {Play} from "./support/Play.sol";
import {vm} from "./support/Vm.sol";

/// @notice Seals and openings in the wrong hands, place, time or shape. Each must change nothing.
contract AttacksTest is Play {
    uint256 private constant FORGE_CHAIN = 31_337;

    function setUp() public {
        deploy(4, 16);
        openRound();
    }

    // --- copying (rows 1, 5) ---

    function test_copiedSeal_cannotBeOpened() public {
        (, address victim) = workerOf(0);
        (uint32 slot, address thief) = workerOf(1);
        sealWork(0, TRUE);
        bytes32 stolen = market.sealOf(job, 0, Stage.Work, 0, 0).hash;
        vm.prank(operatorOf(thief));
        market.sealTasks(job, 0, slot, oneSeal(1, stolen));
        _toReveal();
        open(Stage.Work, 0, 0, TRUE); // now everything about it is public
        bytes32 got = sealHash(Stage.Work, 0, 0, victim, TRUE);
        assertEq(got, stolen, "what was stolen");
        Outcome memory o = outcomeOf(0, 0, TRUE);
        vm.expectRevert();
        market.open(job, 0, oneOpening(Stage.Work, 1, 0, o, saltOf(victim)));
    }

    function test_copiedCheck_ofTheWorkersSeal_cannotBeOpened() public {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        uint16 task = first(market.roundOf(job).drawn);
        address checker = holder(Stage.Check, task, 0);
        bytes32 stolen = market.sealOf(job, 0, Stage.Work, task, 0).hash;
        vm.prank(operatorOf(checker));
        market.sealCheck(job, 0, task, 0, stolen);
        sealCheck(first(market.roundOf(job).drawn & ~(uint256(1) << task)), TRUE);
        assertPhase(Phase.Reveal);
        (, address worker) = workerOf(task);
        open(Stage.Work, task, 0, TRUE);
        Outcome memory o = outcomeOf(0, task, TRUE);
        vm.expectRevert();
        market.open(job, 0, oneOpening(Stage.Check, task, 0, o, saltOf(worker)));
    }

    /// @notice A panel member that copies a public outcome has no witness to open its seal with.
    function test_panelCopy_ofAPublicOutcome_cannotBeOpened() public {
        (uint16 task, address member) = _toPanel();
        Outcome memory o = outcomeOf(0, task, TRUE); // public since the reveal, h included
        bytes memory head = abi.encode(block.chainid, address(market), job, uint32(0), task, uint8(Stage.Panel));
        bytes32 guess = keccak256(bytes.concat(head, abi.encode(member, o.root, o.cid, o.h, bytes32("salt"))));
        vm.prank(operatorOf(member));
        market.sealPanel(job, 0, task, 0, guess);
        passTo(Phase.VerdictOpen);
        // It can only open with h in the witness' place: another outcome than the one it wanted to copy.
        market.openPanel(job, 0, task, 0, o.root, o.cid, o.h, "salt");
        bytes32 bound = market.sealOf(job, 0, Stage.Panel, task, 0).hash;
        assertTrue(bound != keccak256(abi.encode(o)), "the copy became a vote for the copied outcome");
    }

    // --- replay (rows 2, invariant 6) ---

    function test_seal_isWorthlessInAnotherRound() public {
        sealWork(0, TRUE);
        (uint32 slot, address provider) = workerOf(1);
        bytes32 hash = sealHash(Stage.Work, 1, 1, provider, TRUE);
        vm.prank(operatorOf(provider));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInRound.selector, job, 0, 1));
        market.sealTasks(job, 1, slot, oneSeal(1, hash));
        vm.prank(operatorOf(provider));
        market.sealTasks(job, 0, slot, oneSeal(1, hash));
        _toReveal();
        Outcome memory o = outcomeOf(1, 1, TRUE);
        vm.expectRevert();
        market.open(job, 0, oneOpening(Stage.Work, 1, 0, o, saltOf(provider)));
    }

    function test_sealOfAnotherStage_job_orChain_cannotBeOpened() public {
        (uint32 slot, address provider) = workerOf(0);
        uint256 clean = vm.snapshotState();
        _sealThenFail(slot, provider, sealHash(Stage.Check, 0, 0, provider, TRUE));
        vm.revertToState(clean);
        job = JobId.wrap(2);
        bytes32 foreign = sealHash(Stage.Work, 0, 0, provider, TRUE);
        job = JobId.wrap(1);
        _sealThenFail(slot, provider, foreign);
        vm.revertToState(clean);
        // Through a call: a compiler may take the chain's number for a constant of this function.
        vm.chainId(FORGE_CHAIN + 1);
        foreign = this.workHash(provider);
        vm.chainId(FORGE_CHAIN);
        _sealThenFail(slot, provider, foreign);
    }

    function workHash(address provider) external view returns (bytes32) {
        return sealHash(Stage.Work, 0, 0, provider, TRUE);
    }

    function test_seal_andOpening_workOnce() public {
        (uint32 slot, address provider) = workerOf(0);
        sealWork(0, TRUE);
        vm.prank(operatorOf(provider));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadySealed.selector, 0, 0));
        market.sealTasks(job, 0, slot, oneSeal(0, "again"));
        for (uint16 t = 1; t < TASKS; ++t) {
            sealWork(t, TRUE);
        }
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        open(Stage.Work, 0, 0, TRUE);
        Outcome memory o = outcomeOf(0, 0, TRUE);
        bytes32 salt = saltOf(provider);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyOpened.selector, 0, 0));
        market.open(job, 0, oneOpening(Stage.Work, 0, 0, o, salt));
    }

    // --- foreign hands ---

    function test_seals_areForOperatorsOfTheHolder() public {
        (uint32 slot, address provider) = workerOf(0);
        (uint32 other, address stranger) = workerOf(1);
        vm.prank(operatorOf(stranger));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, provider, operatorOf(stranger)));
        market.sealTasks(job, 0, slot, oneSeal(0, "hash"));
        vm.prank(operatorOf(stranger));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourTask.selector, 0, other));
        market.sealTasks(job, 0, other, oneSeal(0, "hash"));
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        RoundView memory r = market.roundOf(job);
        uint16 task = first(r.drawn);
        address checker = holder(Stage.Check, task, 0);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, task, 0, checker));
        market.sealCheck(job, 0, task, 0, "hash");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotDrawn.selector, first(~r.drawn)));
        market.sealCheck(job, 0, first(~r.drawn), 0, "hash");
    }

    function test_revokedOperator_actsNoMore() public {
        (uint32 slot, address provider) = workerOf(0);
        vm.prank(provider);
        vault.authorise(operatorOf(provider), 0);
        vm.prank(operatorOf(provider));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, provider, operatorOf(provider)));
        market.sealTasks(job, 0, slot, oneSeal(0, "hash"));
    }

    function test_update_isForTheNamedCoordinator() public {
        honestToUpdate();
        vm.expectRevert(
            abi.encodeWithSelector(IJobMarket.OnlyCoordinator.selector, operatorOf(coordinatorOwner), address(this))
        );
        market.sealUpdate(job, 0, "hash");
        sealUpdate(TRUE);
        pass();
        address drawn = holder(Stage.UpdateCheck, TASKS, 3);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 3, drawn));
        market.sealUpdateCheck(job, 0, 3, 0, "hash");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, TASKS, 5, address(0)));
        market.sealUpdateCheck(job, 0, 5, 0, "hash");
    }

    // --- out of place ---

    function test_opening_belongsToOnePhase() public {
        sealWork(0, TRUE);
        Outcome memory o = outcomeOf(0, 0, TRUE);
        bytes memory wrongPhase = abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Commit);
        for (uint256 s = 0; s <= uint256(Stage.UpdatePanel); ++s) {
            vm.expectRevert(wrongPhase);
            market.open(job, 0, oneOpening(Stage(s), 0, 0, o, 0));
        }
        vm.expectRevert(wrongPhase);
        market.openPanel(job, 0, 0, 0, o.root, o.cid, 0, 0);
        vm.expectRevert(wrongPhase);
        market.challenge(job, 0, 0, verifiers[0], "hash");
        vm.expectRevert(wrongPhase);
        market.gather(job, 0, 0, 1);
        vm.expectRevert(wrongPhase);
        market.sealPanel(job, 0, 0, 0, "hash");
        vm.expectRevert(wrongPhase);
        market.sealUpdateCheck(job, 0, 0, 0, "hash");
        vm.expectRevert(wrongPhase);
        market.sealUpdate(job, 0, "hash");
    }

    function test_releasedTask_cannotBeOpened() public {
        Terms memory t = terms();
        (t.checks, t.minVerifiers) = (3, 9);
        openSecondJob(t);
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        uint256 drawn = market.roundOf(job).drawn;
        uint16 skipped = first(drawn);
        for (uint16 i = skipped + 1; i < TASKS; ++i) {
            if ((drawn >> i) & 1 == 1) sealCheck(i, TRUE);
        }
        (, address worker) = workerOf(skipped);
        uint256 before = wealth(worker);
        passTo(Phase.Reveal);
        Outcome memory o = outcomeOf(0, skipped, TRUE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.TaskReleased.selector, skipped));
        market.open(job, 0, oneOpening(Stage.Work, skipped, 0, o, saltOf(worker)));
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        assertPhase(Phase.Gather);
        passTo(Phase.Seed); // of the next round: nothing was gathered, so no update follows
        assertEq(wealth(worker), before, "unlocked and unpaid");
    }

    // --- out of shape ---

    function test_malformedOutcome_cannotBeOpened() public {
        (uint32 slot, address provider) = workerOf(0);
        Outcome memory o = outcomeOf(0, 0, TRUE);
        o.root = NONFINITE; // with a CID
        bytes memory head = abi.encode(block.chainid, address(market), job, uint32(0), uint16(0), uint8(0));
        bytes32 hash = keccak256(bytes.concat(head, abi.encode(provider, o.root, o.cid, o.h, bytes32("s"))));
        vm.prank(operatorOf(provider));
        market.sealTasks(job, 0, slot, oneSeal(0, hash));
        _toReveal();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BadOutcome.selector, o.root, o.cid));
        market.open(job, 0, oneOpening(Stage.Work, 0, 0, o, "s"));
    }

    function test_zeroHash_sealsNothing() public {
        (uint32 slot, address provider) = workerOf(0);
        vm.prank(operatorOf(provider));
        vm.expectRevert(IJobMarket.ZeroHash.selector);
        market.sealTasks(job, 0, slot, oneSeal(0, 0));
    }

    function test_unknownTask_isRefused() public {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchTask.selector, TASKS, TASKS));
        market.sealTasks(job, 0, 1, oneSeal(TASKS, "hash"));
    }

    // --- chance ---

    function test_unreadableBeacon_isArmedAgain() public {
        sealAll(NOBODY, TRUE);
        RoundView memory r = market.roundOf(job);
        vm.roll(uint256(r.beaconBlock) + 9_000);
        market.advance(job);
        assertPhase(Phase.Draw);
        assertEq(market.roundOf(job).beaconBlock, block.number + 2, "armed again");
        assertEq(market.roundOf(job).draw, bytes32(0), "no zero hash is ever used");
        pass();
        assertTrue(market.roundOf(job).draw != 0, "drawn");
    }

    function test_beacon_isUnknownWhenItIsArmed() public {
        sealAll(NOBODY, TRUE);
        uint64 target = market.roundOf(job).beaconBlock;
        assertTrue(target > block.number, "the future decides");
        vm.roll(target);
        market.advance(job);
        assertPhase(Phase.Draw);
        vm.roll(target + 1);
        market.advance(job);
        assertPhase(Phase.Check);
        bytes32 value = keccak256(abi.encode(blockhash(target), job, uint32(0), uint8(Phase.Draw)));
        assertEq(market.roundOf(job).draw, value, "of this job, round and use");
    }

    // --- inside ---

    function openSecondJob(Terms memory t) private {
        postAndAccept(t);
        for (uint256 i = 0; i < 4; ++i) {
            join(workers[i], 1);
        }
        toCommit();
    }

    function _sealThenFail(uint32 slot, address provider, bytes32 hash) private {
        vm.prank(operatorOf(provider));
        market.sealTasks(job, 0, slot, oneSeal(0, hash));
        _toReveal();
        Outcome memory o = outcomeOf(0, 0, TRUE);
        bytes32 wanted = sealHash(Stage.Work, 0, 0, provider, TRUE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.WrongOpening.selector, hash, wanted));
        market.open(job, 0, oneOpening(Stage.Work, 0, 0, o, saltOf(provider)));
    }

    function _toReveal() private {
        for (uint16 t = 0; t < TASKS; ++t) {
            if ((market.roundOf(job).sealedTasks >> t) & 1 == 0) sealWork(t, TRUE);
        }
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        assertPhase(Phase.Reveal);
    }

    function _toPanel() private returns (uint16 task, address member) {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        task = first(market.roundOf(job).drawn);
        checkAll(task, LIE);
        revealAll(NOBODY, TRUE, task, LIE);
        passTo(Phase.VerdictSeal);
        member = holder(Stage.Panel, task, 0);
    }
}
