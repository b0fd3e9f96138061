// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Outcome, Phase, RoundView, Stage, Terms} from "../../src/types/Types.sol";
import {Deployed} from "./Deployed.sol";
import {vm} from "./Vm.sol";

/// @notice The moves of a round, through the market's public functions only. Round numbers are read from the chain.
abstract contract Play is Deployed {
    // --- before a round ---

    /// @notice Posts a job, enrols and joins everybody, and comes back in round 0, phase Commit.
    function openRound() internal {
        openRound(terms());
    }

    function openRound(Terms memory t) internal {
        enrolAll();
        postAndAccept(t);
        for (uint256 i = 0; i < workers.length && phase() == Phase.Waiting; ++i) {
            join(workers[i], 1);
        }
        toCommit();
    }

    function enrolAll() internal {
        for (uint256 i = 0; i < verifiers.length; ++i) {
            vm.prank(operatorOf(verifiers[i]));
            market.enrol(verifiers[i], 1);
        }
        vm.roll(block.number + deploymentConfig().epochBlocks);
    }

    function postAndAccept(Terms memory t) internal {
        uint256 escrow = market.requiredEscrow(t);
        vm.prank(requester);
        job = market.post(t, escrow);
        accept();
    }

    function accept() internal {
        vm.prank(operatorOf(coordinatorOwner));
        market.accept(job, coordinatorOwner);
    }

    function join(address owner, uint16 slots) internal {
        vm.prank(operatorOf(owner));
        market.join(job, owner, slots);
    }

    // --- time ---

    /// @notice Lets the awaited beacon pass, or the whole window of the phase.
    function pass() internal {
        RoundView memory r = market.roundOf(job);
        vm.roll(r.beaconBlock != 0 ? r.beaconBlock + 1 : r.deadline);
        if (r.beaconBlock != 0) prove(r.beaconBlock);
        market.advance(job);
    }

    /// @notice Where the deployment's beacon needs a proof of its block.
    function prove(uint64 target) internal virtual {}

    /// @notice Passes phases until the wanted one.
    function passTo(Phase wanted) internal {
        for (uint256 i = 0; phase() != wanted; ++i) {
            assertTrue(i < 40, "the wanted phase never came");
            pass();
        }
    }

    function toCommit() internal {
        assertPhase(Phase.Seed);
        pass();
        assertPhase(Phase.Commit);
    }

    function number() internal view returns (uint32) {
        return market.jobOf(job).round;
    }

    // --- seals ---

    function workerOf(uint16 task) internal view returns (uint32 slot, address provider) {
        return market.slotOfTask(job, task);
    }

    function sealWork(uint16 task, uint256 variant) internal {
        (uint32 slot, address provider) = workerOf(task);
        bytes32 hash = sealHash(Stage.Work, number(), task, provider, variant);
        uint32 round = number();
        vm.prank(operatorOf(provider));
        market.sealTasks(job, round, slot, oneSeal(task, hash));
    }

    /// @notice All workers seal the truth, except that `liar` seals `variant`. Ends in Draw.
    function sealAll(uint16 liar, uint256 variant) internal {
        for (uint16 task = 0; task < market.termsOf(job).tasks; ++task) {
            sealWork(task, task == liar ? variant : TRUE);
        }
    }

    function holder(Stage stage, uint16 question, uint16 seat) internal view returns (address provider) {
        return candidate(stage, question, seat, 0);
    }

    function candidate(Stage stage, uint16 question, uint16 seat, uint8 turn) internal view returns (address provider) {
        (, provider) = market.holderOf(job, stage, question, seat, turn);
    }

    function sealCheck(uint16 task, uint256 variant) internal {
        sealCheckInTurn(task, 0, variant);
    }

    function sealCheckInTurn(uint16 task, uint8 turn, uint256 variant) internal {
        address provider = candidate(Stage.Check, task, 0, turn);
        uint32 round = number();
        bytes32 hash = sealHash(Stage.Check, round, task, provider, variant);
        vm.prank(operatorOf(provider));
        market.sealCheck(job, round, task, turn, hash);
    }

    function passCheck(uint16 task, uint8 turn) internal {
        uint32 round = number();
        address provider = candidate(Stage.Check, task, 0, turn);
        vm.prank(operatorOf(provider));
        market.pass(job, round, Stage.Check, task, 0, turn);
    }

    function claim(uint16 task, uint32 slot, address provider) internal {
        uint32 round = number();
        vm.prank(operatorOf(provider));
        market.claim(job, round, task, slot);
    }

    /// @notice Seals the update as the gatherer of `seat`, in place of the coordinator.
    function sealSuccession(uint8 seat, uint256 variant) internal returns (address provider) {
        uint32 round = number();
        uint16 question = market.termsOf(job).tasks;
        provider = holder(Stage.UpdateCheck, question, seat);
        bytes32 hash = sealHash(Stage.Update, round, question, provider, variant);
        vm.prank(operatorOf(provider));
        market.sealSuccession(job, round, seat, hash);
    }

    /// @notice Seals the truth for every drawn task but `except`, which is answered with `variant`.
    function checkAll(uint16 except, uint256 variant) internal {
        uint256 drawn = market.roundOf(job).drawn;
        for (uint16 task = 0; task < 256; ++task) {
            if ((drawn >> task) & 1 == 1) sealCheck(task, task == except ? variant : TRUE);
        }
    }

    function challenge(uint16 question, address provider, uint256 variant) internal {
        uint32 round = number();
        Stage stage = question == market.termsOf(job).tasks ? Stage.UpdateChallenge : Stage.Challenge;
        bytes32 hash = sealHash(stage, round, question, provider, variant);
        vm.prank(operatorOf(provider));
        market.challenge(job, round, question, provider, hash);
    }

    function sealPanel(uint16 question, uint16 seat, uint256 variant) internal returns (address provider) {
        uint32 round = number();
        Stage stage = panelStage(question);
        provider = holder(stage, question, seat);
        bytes32 hash = sealHash(stage, round, question, provider, variant);
        vm.prank(operatorOf(provider));
        market.sealPanel(job, round, question, seat, hash);
    }

    function panelStage(uint16 question) internal view returns (Stage) {
        return question == market.termsOf(job).tasks ? Stage.UpdatePanel : Stage.Panel;
    }

    function sealUpdate(uint256 variant) internal {
        uint32 round = number();
        bytes32 hash = sealHash(Stage.Update, round, market.termsOf(job).tasks, coordinatorOwner, variant);
        vm.prank(operatorOf(coordinatorOwner));
        market.sealUpdate(job, round, hash);
    }

    function sealUpdateCheck(uint16 seat, uint256 variant) internal returns (address provider) {
        uint32 round = number();
        uint16 question = market.termsOf(job).tasks;
        provider = holder(Stage.UpdateCheck, question, seat);
        bytes32 hash = sealHash(Stage.UpdateCheck, round, question, provider, variant);
        vm.prank(operatorOf(provider));
        market.sealUpdateCheck(job, round, seat, 0, hash);
    }

    // --- openings: by anybody, here by this contract ---

    function open(Stage stage, uint16 question, uint16 seat, uint256 variant) internal {
        uint32 round = number();
        address provider = market.sealOf(job, round, stage, question, seat).provider;
        market.open(
            job, round, oneOpening(stage, question, seat, outcomeOf(round, question, variant), saltOf(provider))
        );
    }

    function openPanel(uint16 question, uint16 seat, uint256 variant) internal {
        uint32 round = number();
        address provider = market.sealOf(job, round, panelStage(question), question, seat).provider;
        Outcome memory o = outcomeOf(round, question, variant);
        market.openPanel(job, round, question, seat, o.root, o.cid, witnessOf(question, variant), saltOf(provider));
    }

    /// @notice Opens all work and all checks: the truth, except the work of `liar` and the check of `except`.
    function revealAll(uint16 liar, uint256 lie, uint16 except, uint256 check) internal {
        RoundView memory r = market.roundOf(job);
        for (uint16 task = 0; task < 256; ++task) {
            bool answered = (r.answered >> task) & 1 == 1;
            bool released = (r.drawn >> task) & 1 == 1 && !answered;
            if ((r.sealedTasks >> task) & 1 == 1 && !released) {
                open(Stage.Work, task, 0, task == liar ? lie : TRUE);
            }
            if (answered) open(Stage.Check, task, 0, task == except ? check : TRUE);
        }
    }

    function gather(uint16 seat, uint256 bitmap) internal returns (address provider) {
        uint32 round = number();
        provider = holder(Stage.UpdateCheck, market.termsOf(job).tasks, seat);
        vm.prank(operatorOf(provider));
        market.gather(job, round, seat, bitmap);
    }

    function gatherAll() internal {
        for (uint16 seat = 0; seat < market.termsOf(job).gatherers; ++seat) {
            gather(seat, type(uint256).max);
        }
    }

    // --- whole stretches ---

    uint16 internal constant NOBODY = 1_000;

    /// @notice From Commit to Gather, everybody honest.
    function honestToGather() internal {
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        checkAll(NOBODY, TRUE);
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        assertPhase(Phase.Gather);
    }

    /// @notice From Commit to Update, everybody honest.
    function honestToUpdate() internal {
        honestToGather();
        gatherAll();
        pass();
        assertPhase(Phase.Update);
    }

    /// @notice Seals and checks the update; ends in UpdateOpen. `seat` checks `variant`, the others what was proposed.
    function checkUpdate(uint256 proposal, uint16 seat, uint256 variant) internal {
        sealUpdate(proposal);
        pass();
        for (uint16 s = 0; s < market.termsOf(job).gatherers + 2; ++s) {
            if (!proposedBy(s)) sealUpdateCheck(s, s == seat ? variant : proposal);
        }
        assertPhase(Phase.UpdateOpen);
    }

    /// @notice Whether the holder of an update seat proposed the update itself.
    function proposedBy(uint16 seat) internal view returns (bool) {
        uint16 question = market.termsOf(job).tasks;
        uint16 proposer = market.roundOf(job).proposer;
        address provider = market.sealOf(job, number(), Stage.Update, question, proposer).provider;
        return holder(Stage.UpdateCheck, question, seat) == provider;
    }

    function openUpdate(uint256 proposal, uint16 seat, uint256 variant) internal {
        uint16 question = market.termsOf(job).tasks;
        open(Stage.Update, question, market.roundOf(job).proposer, proposal);
        for (uint16 s = 0; s < market.termsOf(job).gatherers + 2; ++s) {
            if (!proposedBy(s)) open(Stage.UpdateCheck, question, s, s == seat ? variant : proposal);
        }
    }

    /// @notice From Commit to the end of the round, everybody honest.
    function honestRound() internal {
        honestToUpdate();
        checkUpdate(TRUE, NOBODY, TRUE);
        openUpdate(TRUE, NOBODY, TRUE);
        assertPhase(Phase.UpdateChallenge);
        pass();
    }

    /// @notice The panel on `question` seals and opens the given variants, from VerdictDraw on.
    function panel(uint16 question, uint256 a, uint256 b, uint256 c) internal {
        pass();
        sealPanel(question, 0, a);
        sealPanel(question, 1, b);
        sealPanel(question, 2, c);
        openPanel(question, 0, a);
        openPanel(question, 1, b);
        openPanel(question, 2, c);
    }

    /// @notice Lowest task of a set.
    function first(uint256 set) internal pure returns (uint16 task) {
        assertTrue(set != 0, "an empty set has no first task");
        while ((set >> task) & 1 == 0) ++task;
    }
}
