// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase, RoundView, Seal, Stage} from "../../src/types/Types.sol";
import {Handler} from "./Handler.sol";

/// @notice Counts what must be locked, seal by seal and slot by slot, beside the vault's own books.
contract Bonds is Handler {
    /// @notice Invariant 7: locked = one bond per idle slot, per seal, per verifier slot, and C.
    function assertBonds() external view {
        RoundView memory r = market.roundOf(job);
        if (r.phase == Phase.Finalise) return;
        uint256 bonds = 0;
        for (uint256 i = 1; i <= market.jobs(); ++i) {
            bonds += market.jobOf(JobId.wrap(i)).workerSlots;
        }
        if (r.phase != Phase.Waiting && r.phase != Phase.Ended) bonds += _seals(r.number);
        uint256 wanted = bonds * B + _verifierSlots() * SLOT_BOND;
        if (market.jobOf(job).coordinatorProvider != address(0)) wanted += C;
        (, uint256 locked,,,) = vault.totals();
        assertEq(locked, wanted, "locked");
    }

    function _seals(uint32 round) private view returns (uint256 bonds) {
        (uint32[] memory roster,) = market.workerRoster(job);
        for (uint16 task = 0; task < TASKS; ++task) {
            Seal memory work = market.sealOf(job, round, Stage.Work, task, 0);
            // A slot's own bond is counted with the slot while that is in the roster.
            if (work.hash != 0 && !(work.ofSlot && _contains(roster, work.slot))) ++bonds;
            bonds += _one(round, Stage.Check, task, 0) + _one(round, Stage.Challenge, task, 0);
            for (uint16 seat = 0; seat < 3; ++seat) {
                bonds += _one(round, Stage.Panel, task, seat);
            }
        }
        for (uint16 seat = 0; seat < 5; ++seat) {
            bonds += _one(round, Stage.UpdateCheck, TASKS, seat) + _one(round, Stage.UpdatePanel, TASKS, seat);
        }
        bonds += _one(round, Stage.UpdateChallenge, TASKS, 0);
    }

    function _one(uint32 round, Stage stage, uint16 question, uint16 seat) private view returns (uint256) {
        return market.sealOf(job, round, stage, question, seat).hash == 0 ? 0 : 1;
    }

    function _contains(uint32[] memory slots, uint32 slot) private pure returns (bool) {
        for (uint256 i = 0; i < slots.length; ++i) {
            if (slots[i] == slot) return true;
        }
        return false;
    }

    /// @dev Enrolled and not yet released: each enrolment adds a number, each release takes a bond back.
    function _verifierSlots() private view returns (uint256) {
        return enrolled - released;
    }
}
