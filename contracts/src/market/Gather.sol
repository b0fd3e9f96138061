// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Bits} from "../libraries/Bits.sol";
import {Seats} from "../libraries/Seats.sol";
import {Sealing} from "../libraries/Sealing.sol";
import {VerifierRosters} from "../libraries/VerifierRosters.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Phase, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Gather and challenge: one window in which gatherers say what they hold and verifiers say what is wrong.
abstract contract Gather is MarketStorage {
    using Bits for uint256;

    /// @inheritdoc IJobMarket
    function gather(JobId id, uint32 round, uint16 seat, uint256 bitmap) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.Gather);
        uint16 question = job.terms.tasks;
        if (seat >= job.terms.gatherers) revert NotYourSeat(question, seat, address(0));
        (, address provider) = Seats.holder(_store, id, Stage.UpdateCheck, question, seat);
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
        (Job storage job, Round storage r) = _open(id);
        bool ofUpdate = question == job.terms.tasks;
        _requirePhase(id, r, ofUpdate ? Phase.UpdateChallenge : Phase.Gather);
        _requireOperator(provider);
        // INVARIANT: only a verifier of this round accuses, with a whole bond, and never itself.
        if (!VerifierRosters.enrolled(_store.verifiers, provider, r.epoch)) revert NotEnrolled(provider);
        if (provider == _accused(job, r, question, ofUpdate)) revert OwnWork(provider);
        if (ofUpdate) {
            if (r.updateChallenged) revert AlreadyDisputed(question);
            r.updateChallenged = true;
            _seal(id, Stage.UpdateChallenge, question, 0, provider, hash);
        } else {
            if (!r.openedTasks.has(question)) revert NotSealed(question, 0);
            if (r.disputed.has(question)) revert AlreadyDisputed(question);
            r.disputed = r.disputed.with(question);
            r.challenged = r.challenged.with(question);
            _seal(id, Stage.Challenge, question, 0, provider, hash);
        }
    }

    function _accused(Job storage job, Round storage r, uint16 question, bool ofUpdate) private view returns (address) {
        return ofUpdate ? job.coordinatorProvider : r.seals[Sealing.key(Stage.Work, question, 0)].provider;
    }
}
