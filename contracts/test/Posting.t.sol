// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {JobMarket} from "../src/JobMarket.sol";
import {Config, Ending, JobId, Phase, Terms} from "../src/types/Types.sol";
import {Play} from "./support/Play.sol";
import {vm} from "./support/Vm.sol";

/// @notice What a deployment and a job must promise; accepting, stopping, failing.
contract PostingTest is Play {
    function setUp() public {
        deploy(4, 12);
    }

    // --- terms ---

    function test_terms_outOfBounds_areNamed() public {
        Terms memory t = terms();
        t.manifest = 0;
        _refused(t, "manifest", 0, 1);
        t = terms();
        t.genesisRoot = 0;
        _refused(t, "genesisRoot", 0, 1);
        t = terms();
        t.genesisCid = 0;
        _refused(t, "genesisCid", 0, 1);
        t = terms();
        t.coordinator = address(0);
        _refused(t, "coordinator", 0, 1);
        t = terms();
        t.rounds = 0;
        _refused(t, "rounds", 0, 1);
        t.rounds = 1_001;
        _refused(t, "rounds", 1_001, 1_000);
        t = terms();
        t.tasks = 257;
        _refused(t, "tasks", 257, 256);
        t = terms();
        t.checks = 0;
        _refused(t, "checks", 0, 1);
        t.checks = 5;
        _refused(t, "checks", 5, 4);
        t = terms();
        t.maxFailedRounds = 0;
        _refused(t, "maxFailedRounds", 0, 1);
        t = terms();
        t.minWorkers = 0;
        _refused(t, "minWorkers", 0, 1);
        t.minWorkers = 257;
        _refused(t, "minWorkers", 257, 256);
        t = terms();
        t.minVerifiers = 7;
        _refused(t, "minVerifiers", 7, 8);
    }

    function test_terms_ofGatherersAndPanel_areBounded() public {
        Terms memory t = terms();
        t.gatherers = 1;
        _refused(t, "gatherers", 1, 3);
        t.gatherers = 4;
        _refused(t, "gatherers", 4, 5);
        t.gatherers = 15;
        _refused(t, "gatherers", 15, 13);
        t = terms();
        t.panel = 0;
        _refused(t, "panel", 0, 1);
        t.panel = 11;
        _refused(t, "panel", 11, 9);
    }

    function test_terms_ofMoney_areBounded() public {
        Terms memory t = terms();
        t.reward = 1;
        _refused(t, "reward", 1, 2);
        t = terms();
        t.fee = W - 1;
        _refused(t, "fee", W - 1, W);
        t = terms();
        t.bond = 3 * W * 2 + 3 * F - 1; // 3*w*T/J + N*f
        _refused(t, "bond", t.bond, t.bond + 1);
        t.fee = B;
        t.bond = 3 * W * 2 + 3 * B - 1;
        _refused(t, "bond", t.bond, t.bond + 1);
        t = terms();
        t.updateFee = B;
        t.bond = 3 * B - 1;
        _refused(t, "bond", t.bond, t.bond + 1);
        t = terms();
        t.bond = 1e18 + 1;
        _refused(t, "bond", t.bond, 1e18);
        t = terms();
        t.coordinatorBond = 4 * W + 3 * U - 1;
        _refused(t, "coordinatorBond", t.coordinatorBond, t.coordinatorBond + 1);
    }

    function test_bondBound_roundsUp() public {
        Terms memory t = terms();
        (t.tasks, t.checks, t.minVerifiers, t.fee) = (4, 3, 9, W);
        t.bond = 403 + 3 * W; // 3*101*4/3 = 404, and the panel's fees
        _refused(t, "bond", t.bond, t.bond + 1);
    }

    function test_windows_areBounded() public {
        Terms memory t = terms();
        t.windows.waiting = 3;
        _refused(t, "waiting", 3, 4);
        t = terms();
        t.windows.commit = 1_001;
        _refused(t, "commit", 1_001, 1_000);
        t = terms();
        t.windows.check = 0;
        _refused(t, "check", 0, 4);
        t = terms();
        t.windows.reveal = 0;
        _refused(t, "reveal", 0, 4);
        t = terms();
        t.windows.gather = 0;
        _refused(t, "gather", 0, 4);
        t = terms();
        t.windows.verdictSeal = 0;
        _refused(t, "verdictSeal", 0, 4);
        t = terms();
        t.windows.verdictOpen = 0;
        _refused(t, "verdictOpen", 0, 4);
        t = terms();
        t.windows.update = 0;
        _refused(t, "update", 0, 4);
        t = terms();
        t.windows.updateCheck = 0;
        _refused(t, "updateCheck", 0, 4);
        t = terms();
        t.windows.updateOpen = 0;
        _refused(t, "updateOpen", 0, 4);
        t = terms();
        t.windows.updateChallenge = 0;
        _refused(t, "updateChallenge", 0, 4);
    }

    function test_escrow_coversTheWorstCase_andIsPulledWhole() public {
        Terms memory t = terms();
        uint256 required = 2 * (4 * uint256(W) + 2 * uint256(F) + 6 * uint256(U));
        assertEq(market.requiredEscrow(t), required, "required");
        vm.startPrank(requester);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.EscrowTooSmall.selector, required - 1, required));
        market.post(t, required - 1);
        job = market.post(t, required + 5);
        vm.stopPrank();
        assertEq(vault.escrowOf(job), required + 5, "escrow");
        assertEq(JobId.unwrap(job), 1, "jobs count from 1");
    }

    // --- deployment ---

    function test_market_makesItsOwnVault() public {
        assertEq(vault.MARKET(), address(market), "the vault's market");
        assertEq(vault.TOKEN(), address(token), "the vault's token");
        assertEq(address(vault), vm.computeCreateAddress(address(market), 1), "the market's first creation");
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.NotAToken.selector, address(0xBEEF)));
        new JobMarket(address(0xBEEF), deploymentConfig());
    }

    function test_market_refusesEmptyConstants() public {
        Config memory c = deploymentConfig();
        c.beaconDelay = 0;
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BadConfig.selector, bytes32("beaconDelay"), 0));
        new JobMarket(address(token), c);
    }

    function test_unknownJob_isRefused() public {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchJob.selector, 9));
        market.advance(JobId.wrap(9));
    }

    // --- accepting, stopping, failing ---

    function test_accept_isForTheNamedOperatorOnce() public {
        enrolAll();
        postAndAccept(terms());
        assertEq(vault.lockedOf(coordinatorOwner), C, "C is locked");
        vm.prank(operatorOf(coordinatorOwner));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyAccepted.selector, job));
        market.accept(job, coordinatorOwner);
        vm.expectRevert(
            abi.encodeWithSelector(IJobMarket.OnlyCoordinator.selector, operatorOf(coordinatorOwner), address(this))
        );
        market.accept(job, coordinatorOwner);
    }

    function test_accept_forAForeignProvider_isRefused() public {
        uint256 escrow = market.requiredEscrow(terms());
        vm.prank(requester);
        job = market.post(terms(), escrow);
        vm.prank(operatorOf(coordinatorOwner));
        vm.expectRevert(
            abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, workers[0], operatorOf(coordinatorOwner))
        );
        market.accept(job, workers[0]);
    }

    function test_removedCoordinator_mayAcceptAgain_withAnotherBond() public {
        openRound();
        honestToUpdate();
        sealUpdate(LIE);
        pass();
        for (uint16 s = 0; s < 5; ++s) {
            sealUpdateCheck(s, TRUE);
        }
        passTo(Phase.UpdateVerdictSeal);
        for (uint16 s = 0; s < 3; ++s) {
            if (holder(panelStage(TASKS), TASKS, s) != address(0)) sealPanel(TASKS, s, TRUE);
        }
        passTo(Phase.UpdateVerdictOpen);
        for (uint16 s = 0; s < 3; ++s) {
            if (market.sealOf(job, 0, panelStage(TASKS), TASKS, s).hash != 0) openPanel(TASKS, s, TRUE);
        }
        passTo(Phase.Waiting);
        assertEq(market.jobOf(job).coordinatorProvider, address(0), "the post is lost");
        accept();
        assertPhase(Phase.Seed);
        assertEq(vault.lockedOf(coordinatorOwner), C, "another C");
    }

    function test_stop_betweenRounds_refundsAtOnce() public {
        postAndAccept(terms());
        uint256 escrow = vault.escrowOf(job);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.OnlyRequester.selector, requester, address(this)));
        market.stop(job);
        vm.prank(requester);
        market.stop(job);
        assertEq(uint256(market.jobOf(job).ending), uint256(Ending.Stopped), "ending");
        assertEq(vault.creditOf(requester), escrow, "refund");
        assertEq(vault.lockedOf(coordinatorOwner), 0, "C is free");
    }

    function test_stop_inARound_letsItRunToItsEnd() public {
        openRound();
        vm.prank(requester);
        market.stop(job);
        assertPhase(Phase.Commit);
        honestRound();
        assertPhase(Phase.Ended);
        assertEq(uint256(market.jobOf(job).ending), uint256(Ending.Stopped), "ending");
        assertEq(market.jobOf(job).updates, 1, "its update counts");
    }

    function test_waitingInVain_endsTheJob() public {
        postAndAccept(terms());
        pass();
        assertEq(market.jobOf(job).failedRounds, 1, "one window in vain");
        assertPhase(Phase.Waiting);
        pass();
        assertEq(uint256(market.jobOf(job).ending), uint256(Ending.Failed), "ending");
        vm.prank(operatorOf(workers[0]));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Ended));
        market.join(job, workers[0], 1);
    }

    function test_emptyRounds_endTheJob_andAnUpdateResetsTheCount() public {
        Terms memory t = terms();
        t.rounds = 10;
        openRound(t);
        pass(); // nobody seals
        assertEq(market.jobOf(job).failedRounds, 1, "an empty round");
        toCommit();
        honestRound();
        assertEq(market.jobOf(job).failedRounds, 0, "reset");
        toCommit();
        pass();
        toCommit();
        pass();
        assertEq(uint256(market.jobOf(job).ending), uint256(Ending.Failed), "ending");
        assertBooks();
    }

    function _refused(Terms memory t, bytes32 name, uint256 value, uint256 bound) private {
        vm.prank(requester);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BadTerm.selector, name, value, bound));
        market.post(t, 1e20);
    }
}
