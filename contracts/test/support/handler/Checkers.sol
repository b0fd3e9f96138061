// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase, RoundView, Stage} from "../../../src/types/Types.sol";
import {Moves} from "./Moves.sol";

/// @notice Check, Recheck, Gather and the panels: drawn verifiers answer, hand on, gather, object and judge.
abstract contract Checkers is Moves {
    function _check(RoundView memory r) internal {
        uint16 task = _member(r.drawn & ~r.answered, 0);
        _take(r, Stage.Check, task, 0);
    }

    /// @notice Whoever's turn has come at a seat answers, or hands it on.
    function _take(RoundView memory r, Stage stage, uint16 question, uint16 seat) internal {
        uint8 turn = uint8(_pick(market.turnOf(job, stage, question, seat) + 1));
        (, address provider) = market.holderOf(job, stage, question, seat, turn);
        if (provider == address(0)) return;
        if (!_is(provider, Character.Honest) && _pick(3) == 0) {
            bytes memory pass = abi.encodeCall(market.pass, (job, r.number, stage, question, seat, turn));
            // In Recheck the same words may be somebody's to say once more.
            _try(Move.Pass, operatorOf(provider), pass);
            return _observe();
        }
        _answer(stage, question, seat, provider, turn);
    }

    function _gatherOrChallenge(RoundView memory r) internal {
        if (r.openedTasks & ~r.disputed != 0 && _pick(3) == 0) {
            return _challenge(_member(r.openedTasks & ~r.disputed, 0), Stage.Work, 0);
        }
        uint16 seat = uint16(_pick(deals[job].gatherers));
        (, address provider) = market.holderOf(job, Stage.UpdateCheck, deals[job].tasks, seat, 0);
        if (provider == address(0) || _sleeps(Stage.UpdateCheck, provider)) return;
        uint256 held = _is(provider, Character.Malicious) ? _pick(64) : type(uint256).max;
        bytes memory call_ = abi.encodeCall(market.gather, (job, r.number, seat, held));
        if (!_tryOnce(Move.Gather, operatorOf(provider), call_)) return;
        while (gathered[job].length <= seat) {
            gathered[job].push(address(0));
        }
        gathered[job][seat] = provider;
        _observe();
    }

    /// @notice Somebody objects to what the seal of `accused` shows; an honest one only to a lie.
    function _challenge(uint16 question, Stage accused, uint16 seat) internal {
        uint256 known = _find(job, accused, question, seat);
        bool lie = known != NO_NOTE && notes[job][known].variant != 0;
        Stage stage = accused == Stage.Work ? Stage.Challenge : Stage.UpdateChallenge;
        for (uint256 i = 0; i < 8 && !acted; ++i) {
            address provider = _someone(verifiers);
            if (lie || _is(provider, Character.Malicious)) _answer(stage, question, 0, provider, 0);
        }
    }

    function _judge(RoundView memory r) internal {
        bool ofUpdate = r.phase == Phase.UpdateVerdictSeal;
        uint16 question = ofUpdate ? deals[job].tasks : _member(r.disputed, 0);
        uint16 seat = uint16(_pick(deals[job].panel));
        Stage stage = ofUpdate ? Stage.UpdatePanel : Stage.Panel;
        (, address provider) = market.holderOf(job, stage, question, seat, 0);
        if (provider != address(0)) _answer(stage, question, seat, provider, 0);
    }
}
