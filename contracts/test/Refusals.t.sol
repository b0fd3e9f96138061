// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobMarket} from "../src/JobMarket.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {Config, JobId, Outcome, Phase, Stage} from "../src/types/Types.sol";
import {Play} from "./support/Play.sol";
import {vm} from "./support/Vm.sol";

/// @notice The refusals that no story of another test runs into: each with its error and its values.
contract RefusalsTest is Play {
    function setUp() public {
        deploy(4, 12);
    }

    // --- a deployment ---

    function test_config_refusesZeros() public {
        Config memory c = deploymentConfig();
        c.epochBlocks = 0;
        _refusesConfig(c, "epochBlocks");
        c = deploymentConfig();
        c.minWindow = 0;
        _refusesConfig(c, "minWindow");
        c = deploymentConfig();
        c.maxRounds = 0;
        _refusesConfig(c, "maxRounds");
        c = deploymentConfig();
        c.maxPanel = 0;
        _refusesConfig(c, "maxPanel");
        c = deploymentConfig();
        c.slotBond = 0;
        _refusesConfig(c, "slotBond");
        c = deploymentConfig();
        c.maxBond = 0;
        _refusesConfig(c, "maxBond");
    }

    function test_config_refusesCrossedWindows() public {
        Config memory c = deploymentConfig();
        c.maxWindow = c.minWindow - 1;
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BadConfig.selector, bytes32("maxWindow"), c.maxWindow));
        new JobMarket(address(token), c);
    }

    function _refusesConfig(Config memory c, bytes32 name) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BadConfig.selector, name, 0));
        new JobMarket(address(token), c);
    }

    function test_vault_needsAMarket() public {
        vm.expectRevert(IStakeVault.ZeroAddress.selector);
        new StakeVault(address(token), address(0));
    }

    function test_vault_refusesNothingAndNobody() public {
        vm.startPrank(workers[0]);
        vm.expectRevert(IStakeVault.ZeroAmount.selector);
        vault.deposit(0);
        vm.expectRevert(IStakeVault.ZeroAmount.selector);
        vault.withdraw(0, workers[0]);
        vm.expectRevert(IStakeVault.ZeroAddress.selector);
        vault.withdraw(1, address(0));
        vm.expectRevert(IStakeVault.ZeroAddress.selector);
        vault.collect(address(0));
        vm.stopPrank();
        vm.prank(address(market));
        vm.expectRevert(IStakeVault.ZeroAmount.selector);
        vault.fund(JobId.wrap(1), requester, 0);
    }

    // --- jobs ---

    function test_stop_happensOnce() public {
        openRound();
        vm.startPrank(requester);
        market.stop(job);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Commit));
        market.stop(job);
        vm.stopPrank();
    }

    function test_drop_needsARound() public {
        enrolAll();
        postAndAccept(terms());
        join(workers[0], 1);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Waiting));
        market.drop(job, 1, 0);
    }

    function test_drop_needsATask() public {
        openRound();
        honestToGather();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchTask.selector, TASKS, TASKS));
        market.drop(job, 1, TASKS);
    }

    function test_sealTask_needsATask_andAHash() public {
        openRound();
        (uint32 slot, address provider) = workerOf(0);
        vm.startPrank(operatorOf(provider));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchTask.selector, TASKS, TASKS));
        market.sealTasks(job, 0, slot, oneSeal(TASKS, "hash"));
        vm.expectRevert(IJobMarket.ZeroHash.selector);
        market.sealTasks(job, 0, slot, oneSeal(0, 0));
        vm.stopPrank();
    }

    function test_slotOfTask_needsASeed_andATask_andRemembersTheOpening() public {
        enrolAll();
        postAndAccept(terms());
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Waiting));
        market.slotOfTask(job, 0);
        for (uint256 i = 0; i < 4; ++i) {
            join(workers[i], 1);
        }
        toCommit();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NoSuchTask.selector, TASKS, TASKS));
        market.slotOfTask(job, TASKS);
        honestToGather();
        uint32[] memory before = new uint32[](TASKS);
        for (uint16 task = 0; task < TASKS; ++task) {
            (before[task],) = market.slotOfTask(job, task);
        }
        // Three of four leave: the round remembers whose the tasks were.
        for (uint32 slot = 1; slot < 4; ++slot) {
            vm.prank(workers[slot - 1]);
            market.leave(job, slot);
        }
        for (uint16 task = 0; task < TASKS; ++task) {
            (uint32 slot, address provider) = market.slotOfTask(job, task);
            assertEq(slot, before[task], "slot");
            assertEq(provider, workers[slot - 1], "provider");
        }
    }

    // --- seals and openings ---

    function test_open_needsASeal_andAStageThatOpensHere() public {
        openRound();
        sealWork(0, TRUE);
        passTo(Phase.Reveal);
        Outcome memory o = outcomeOf(0, 1, TRUE);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotSealed.selector, 1, 0));
        market.open(job, 0, oneOpening(Stage.Work, 1, 0, o, "salt"));
        // A vote shows its witness, and so has an opening of its own.
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Reveal));
        market.open(job, 0, oneOpening(Stage.Panel, 1, 0, o, "salt"));
    }

    function test_sealPanel_needsADispute_andASeat() public {
        openRound();
        honestToGather();
        address accuser = verifiers[0];
        challenge(1, accuser, LIE);
        passTo(Phase.VerdictSeal);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotDrawn.selector, 0));
        market.sealPanel(job, 0, 0, 0, "hash");
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotYourSeat.selector, 1, 3, address(0)));
        market.sealPanel(job, 0, 1, 3, "hash");
    }

    function test_views_tellWhatWasPosted() public {
        openRound();
        honestToGather();
        gather(1, 5);
        assertEq(market.gatheredBy(job, 0, 1), 5, "bitmap");
        assertEq(market.epoch(), uint64(block.number / deploymentConfig().epochBlocks), "epoch");
    }

    // --- several acts of one key ---

    function test_multicall_actsAsOneKey_andAllOrNothing() public {
        openRound();
        (uint32 slot, address provider) = workerOf(0);
        bytes[] memory acts = new bytes[](2);
        bytes32 hash = sealHash(Stage.Work, 0, 0, provider, TRUE);
        acts[0] = abi.encodeCall(market.sealTasks, (job, 0, slot, oneSeal(0, hash)));
        acts[1] = abi.encodeCall(market.join, (job, provider, 1)); // not in Commit
        vm.startPrank(operatorOf(provider));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.RosterFrozen.selector, job, Phase.Commit));
        market.multicall(acts);
        assertEq(market.roundOf(job).sealedTasks, 0, "the first act is undone, too");
        acts[1] = abi.encodeCall(market.advance, (job));
        market.multicall(acts);
        vm.stopPrank();
        assertEq(market.roundOf(job).sealedTasks, 1, "sealed");
        assertEq(market.sealOf(job, 0, Stage.Work, 0, 0).provider, provider, "by whom");
    }

    function test_multicall_lendsNobodysKey() public {
        openRound();
        (uint32 slot, address provider) = workerOf(0);
        bytes[] memory acts = new bytes[](1);
        acts[0] = abi.encodeCall(market.sealTasks, (job, 0, slot, oneSeal(0, "hash")));
        vm.prank(address(0xBAD));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotOperatorOf.selector, provider, address(0xBAD)));
        market.multicall(acts);
    }
}
