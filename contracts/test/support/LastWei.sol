// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase, RoundView} from "../../src/types/Types.sol";
import {Play} from "./Play.sol";
import {vm} from "./Vm.sol";

/// @notice How every story must be able to end: with nothing in the vault but what was burnt.
abstract contract LastWei is Play {
    /// @notice Time and `advance` alone until the job has ended; then everybody leaves, retires and withdraws.
    function endAndWithdraw() internal {
        for (uint256 i = 0; phase() != Phase.Ended; ++i) {
            assertTrue(i < 200, "the end never came");
            RoundView memory r = market.roundOf(job);
            if (r.phase != Phase.Finalise) vm.roll(r.beaconBlock != 0 ? r.beaconBlock + 1 : r.deadline);
            market.advance(job);
        }
        assertEq(vault.escrowOf(job), 0, "the job's ledger is empty");
        (uint32[] memory slots, address[] memory providers) = market.workerRoster(job);
        for (uint256 i = 0; i < slots.length; ++i) {
            vm.prank(providers[i]);
            market.leave(job, slots[i]);
        }
        _retireAll();
        vm.roll(block.number + market.longestRound() + 3 * deploymentConfig().epochBlocks);
        for (uint32 slot = 1; slot <= verifiers.length + 16; ++slot) {
            try market.release(slot) {} catch {}
        }
        _withdrawAll();
        assertEq(token.balanceOf(address(vault)), burnt(), "only what was burnt stays");
    }

    function _retireAll() private {
        (uint32[] memory slots, address[] memory providers) = market.verifierRoster(market.epoch() + 1);
        for (uint256 i = 0; i < slots.length; ++i) {
            vm.prank(providers[i]);
            market.retire(slots[i]);
        }
    }

    function _withdrawAll() private {
        for (uint256 i = 0; i < workers.length; ++i) {
            _withdraw(workers[i]);
        }
        for (uint256 i = 0; i < verifiers.length; ++i) {
            _withdraw(verifiers[i]);
        }
        _withdraw(coordinatorOwner);
        _withdraw(requester);
    }

    function _withdraw(address owner) private {
        assertEq(vault.lockedOf(owner), 0, "nothing stays locked");
        uint256 free = vault.freeOf(owner);
        uint256 credit = vault.creditOf(owner);
        vm.startPrank(owner);
        if (free != 0) vault.withdraw(free, owner);
        if (credit != 0) vault.collect(owner);
        vm.stopPrank();
    }
}
