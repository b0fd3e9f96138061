// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ending, JobView, Phase} from "../src/types/Types.sol";
import {Play} from "./support/Play.sol";
import {vm} from "./support/Vm.sol";

/// @notice Whole rounds in which everybody keeps the rules.
contract RoundTest is Play {
    function setUp() public {
        deploy(4, 12);
    }

    function test_honestRound_updatesTheStateAndPaysEverybody() public {
        openRound();
        uint256 before = wealth(coordinatorOwner);
        uint256 escrow = vault.escrowOf(job);
        uint256[] memory had = _workerWealth();
        honestRound();
        assertEq(market.jobOf(job).updates, 1, "updates");
        assertEq(market.jobOf(job).stateRoot, outcomeOf(0, TASKS, TRUE).root, "state root");
        assertEq(wealth(coordinatorOwner), before + U, "the proposer");
        for (uint256 i = 0; i < workers.length; ++i) {
            assertEq(wealth(workers[i]), had[i] + W, "a worker");
        }
        assertEq(escrow - vault.escrowOf(job), 4 * W + 2 * F + 6 * U, "a round costs exactly its worst case");
        assertEq(burnt(), 0, "nothing is burnt");
        assertBooks();
    }

    function test_allRounds_completeAndRefund() public {
        openRound();
        honestRound();
        assertPhase(Phase.Seed);
        toCommit();
        honestRound();
        JobView memory j = market.jobOf(job);
        assertEq(uint256(j.ending), uint256(Ending.Completed), "ending");
        assertEq(j.updates, 2, "updates");
        assertEq(vault.escrowOf(job), 0, "escrow");
        assertEq(vault.lockedOf(coordinatorOwner), 0, "C is unlocked");
        for (uint256 i = 0; i < workers.length; ++i) {
            assertEq(vault.lockedOf(workers[i]), B, "a slot bond stays until its worker leaves");
            vm.prank(operatorOf(workers[i]));
            market.leave(job, uint32(i + 1));
            assertEq(vault.lockedOf(workers[i]), 0, "then it is free");
        }
        assertBooks();
    }

    function _workerWealth() private view returns (uint256[] memory had) {
        had = new uint256[](workers.length);
        for (uint256 i = 0; i < workers.length; ++i) {
            had[i] = wealth(workers[i]);
        }
    }
}
