// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Seats} from "../libraries/Seats.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Phase, Seal, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Update: the coordinator seals the next state; gatherers and two drawn verifiers seal theirs before it opens.
abstract contract Update is MarketStorage {
    /// @inheritdoc IJobMarket
    function sealUpdate(JobId id, uint32 round, bytes32 hash) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.Update);
        address coordinator = job.terms.coordinator;
        if (msg.sender != coordinator) revert OnlyCoordinator(coordinator, msg.sender);
        address provider = job.coordinatorProvider;
        _requireOperator(provider);
        r.proposed = true;
        // Bond C stands behind this seal since the job was accepted.
        _record(id, Stage.Update, job.terms.tasks, 0, Seal(hash, provider, 0, false, msg.sender, 0));
    }

    /// @inheritdoc IJobMarket
    function sealUpdateCheck(JobId id, uint32 round, uint16 seat, bytes32 hash) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.UpdateCheck);
        uint16 question = job.terms.tasks;
        // INVARIANT: of the gatherers, only those that posted what they hold check the update.
        if ((r.updateExpected >> seat) & 1 == 0) revert NotYourSeat(question, seat, address(0));
        (, address provider) = Seats.holder(_store, id, Stage.UpdateCheck, question, seat);
        _requireSeat(question, seat, provider);
        r.updateAnswered |= uint16(1) << seat;
        r.checkedUpdate[provider] = true;
        _seal(id, Stage.UpdateCheck, question, seat, provider, hash);
    }
}
