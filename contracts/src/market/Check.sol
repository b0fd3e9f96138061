// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Bits} from "../libraries/Bits.sol";
import {Seats} from "../libraries/Seats.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Phase, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Check: drawn verifiers recompute and seal their own outcome, before the worker's is public.
abstract contract Check is MarketStorage {
    using Bits for uint256;

    /// @inheritdoc IJobMarket
    function sealCheck(JobId id, uint32 round, uint16 task, bytes32 hash) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.Check);
        if (task >= job.terms.tasks) revert NoSuchTask(task, job.terms.tasks);
        if (!r.drawn.has(task)) revert NotDrawn(task);
        (, address provider) = Seats.holder(_store, id, Stage.Check, task, 0);
        _requireSeat(task, 0, provider);
        r.answered = r.answered.with(task);
        _seal(id, Stage.Check, task, 0, provider, hash);
    }
}
