// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Bits} from "../libraries/Bits.sol";
import {Seats} from "../libraries/Seats.sol";
import {Sealing} from "../libraries/Sealing.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Phase, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Check: drawn verifiers recompute and seal their own outcome, before the worker's is public.
/// @notice A seat's candidates follow each other in turn; whoever had a turn and did not pass may still answer.
abstract contract Check is MarketStorage {
    using Bits for uint256;

    /// @inheritdoc IJobMarket
    function sealCheck(JobId id, uint32 round, uint16 task, uint8 turn, bytes32 hash) external inRound(id, round) {
        (, Round storage r) = _open(id);
        _requireCheck(id, r, task);
        address provider = _requireTurn(id, Stage.Check, task, 0, turn);
        r.answered = r.answered.with(task);
        _seal(id, Stage.Check, task, 0, provider, hash);
    }

    /// @inheritdoc IJobMarket
    function pass(JobId id, uint32 round, Stage stage, uint16 question, uint16 seat, uint8 turn)
        external
        inRound(id, round)
    {
        (Job storage job, Round storage r) = _open(id);
        if (stage == Stage.Check) {
            _requireCheck(id, r, question);
            if (seat != 0) revert NotYourSeat(question, seat, address(0));
        } else {
            _requirePhase(id, r, Phase.UpdateCheck);
            bool drawn = stage == Stage.UpdateCheck && question == job.terms.tasks && seat >= job.terms.gatherers;
            if (!drawn) revert NotYourSeat(question, seat, address(0));
        }
        if (r.seals[Sealing.key(stage, question, seat)].hash != 0) revert AlreadySealed(question, seat);
        address provider = _requireTurn(id, stage, question, seat, turn);
        Seats.pass(_store, id, stage, question, seat, turn);
        emit Passed(id, round, stage, question, seat, turn, provider);
    }

    function _requireCheck(JobId id, Round storage r, uint16 task) private view {
        if (r.phase != Phase.Check && r.phase != Phase.Recheck) revert NotInPhase(id, r.phase);
        if (task > type(uint8).max || !r.drawn.has(task)) revert NotDrawn(task);
    }
}
