// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RoundView, Stage} from "../../../src/types/Types.sol";
import {Moves} from "./Moves.sol";

/// @notice Commit: slots seal their tasks, and claim what others leave.
abstract contract Workers is Moves {
    function _commit(RoundView memory r) internal {
        uint16 task = _member(~r.sealedTasks & ((1 << deals[job].tasks) - 1), 0);
        bool claimed = (r.claimed >> task) & 1 == 1;
        bool late = block.number >= r.deadline - deals[job].commitWindow / 2;
        if (late && !claimed && _pick(2) == 0) return _claim(r, task);
        (uint32 slot, address provider) = market.slotOfTask(job, task);
        if (claimed) {
            Note storage claim = notes[job][_find(job, Stage.Work, task, 0)];
            (slot, provider) = (claim.slot, claim.provider);
            // Some claim only to keep others from the task.
            if (_is(provider, Character.Malicious) && _pick(2) == 0) return;
        } else if (_pick(2) == 0) {
            return _sealTogether(r, slot, provider);
        }
        _answer(Stage.Work, task, 0, provider, slot);
    }

    /// @dev Everything that a slot has left to seal, in one call.
    function _sealTogether(RoundView memory r, uint32 slot, address provider) private {
        uint16[] memory tasks = new uint16[](deals[job].tasks);
        uint256 count = 0;
        for (uint16 task = 0; task < tasks.length; ++task) {
            if (((r.sealedTasks | r.claimed) >> task) & 1 == 1) continue;
            (uint32 server,) = market.slotOfTask(job, task);
            if (server == slot) tasks[count++] = task;
        }
        _answerTogether(tasks, count, provider, slot);
    }

    /// @dev Honest ones claim what they are about to seal, at once.
    function _claim(RoundView memory r, uint16 task) private {
        (uint32[] memory slots, address[] memory providers) = market.workerRoster(job);
        uint256 i = _pick(slots.length);
        if (_sleeps(Stage.Work, providers[i])) return;
        bytes memory call_ = abi.encodeCall(market.claim, (job, r.number, task, slots[i]));
        if (!_tryOnce(Move.Claim, operatorOf(providers[i]), call_)) return;
        Note memory note;
        (note.stage, note.question, note.provider, note.slot) = (Stage.Work, task, providers[i], slots[i]);
        (note.claimed, note.ofSlot) = (true, _useSlot(slots[i]));
        _write(job, note);
        _observe();
        if (_is(providers[i], Character.Honest)) _answer(Stage.Work, task, 0, providers[i], slots[i]);
    }
}
