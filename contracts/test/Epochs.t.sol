// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase, Stage, Terms} from "../src/types/Types.sol";
import {LastWei} from "./support/LastWei.sol";
import {vm} from "./support/Vm.sol";

/// @notice The epoch changes inside a round: it keeps the verifiers of its opening, whoever comes or goes meanwhile.
contract EpochsTest is LastWei {
    function setUp() public {
        deploy(4, 24);
    }

    function terms() internal view override returns (Terms memory t) {
        t = super.terms();
        t.windows.check = 3 * deploymentConfig().epochBlocks;
    }

    function test_roundKeepsTheRosterOfItsOpening() public {
        openRound();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        uint256 drawn = market.roundOf(job).drawn;
        uint16 task = first(drawn);
        (uint32 slot, address checker) = market.holderOf(job, Stage.Check, task, 0, 0);
        uint64 epoch = market.epoch();
        vm.prank(checker);
        market.retire(slot);
        vm.prank(operatorOf(verifiers[0]));
        market.enrol(verifiers[0], 5);
        vm.roll(block.number + deploymentConfig().epochBlocks);
        market.advance(job);
        assertPhase(Phase.Check);
        assertTrue(market.epoch() > epoch, "an epoch later, in the same window");
        assertEq(market.roundOf(job).verifiers, 24, "the roster of its opening");
        assertEq(holder(Stage.Check, task, 0), checker, "and the seats that it was drawn for");
        for (uint16 t = 0; t < TASKS; ++t) {
            if ((drawn >> t) & 1 == 1) sealCheck(t, TRUE);
        }
        revealAll(NOBODY, TRUE, NOBODY, TRUE);
        gatherAll();
        passTo(Phase.Update);
        checkUpdate(TRUE, NOBODY, TRUE);
        openUpdate(TRUE, NOBODY, TRUE);
        pass();
        assertEq(market.jobOf(job).updates, 1, "an ordinary round");
        assertEq(market.roundOf(job).verifiers, 28, "the next one has the new roster");
        endAndWithdraw();
    }

    function test_retiredVerifier_servesTheRoundThatDrewIt_thenLeaves() public {
        openRound();
        sealAll(NOBODY, TRUE);
        passTo(Phase.Check);
        uint16 task = first(market.roundOf(job).drawn);
        (uint32 slot, address checker) = market.holderOf(job, Stage.Check, task, 0, 0);
        vm.prank(checker);
        market.retire(slot);
        sealCheck(task, TRUE);
        assertEq(market.sealOf(job, 0, Stage.Check, task, 0).provider, checker, "it still answers");
        endAndWithdraw();
    }
}
