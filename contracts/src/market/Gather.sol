// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Objections} from "../libraries/Objections.sol";
import {Seats} from "../libraries/Seats.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Phase, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Gather and challenge: one window in which gatherers say what they hold and verifiers say what is wrong.
abstract contract Gather is MarketStorage {
    /// @inheritdoc IJobMarket
    function gather(JobId id, uint32 round, uint16 seat, uint256 bitmap) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.Gather);
        uint16 question = job.terms.tasks;
        if (seat >= job.terms.gatherers) revert NotYourSeat(question, seat, address(0));
        (, address provider) = Seats.holder(_store, id, Stage.UpdateCheck, question, seat, 0);
        _requireSeat(question, seat, provider);
        // INVARIANT: a gatherer speaks once.
        if ((r.gathered >> seat) & 1 == 1) revert AlreadyGathered(seat);
        r.gathered |= uint16(1) << seat;
        r.gatherers[seat] = provider;
        r.holdings[seat] = bitmap;
        emit Gathered(id, round, seat, provider, bitmap);
    }

    /// @inheritdoc IJobMarket
    function challenge(JobId id, uint32 round, uint16 question, address provider, bytes32 hash)
        external
        inRound(id, round)
    {
        Objections.challenge(_store, _vault, id, question, provider, hash);
    }
}
