// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Succession} from "../libraries/Succession.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Phase, Seal, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Update: the coordinator seals the next state, or a gatherer in its place; the others and two drawn verifiers
/// seal theirs before it opens.
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
        _record(id, Stage.Update, job.terms.tasks, 0, Seal(hash, provider, 0, false, false, msg.sender));
    }

    /// @inheritdoc IJobMarket
    function sealSuccession(JobId id, uint32 round, uint8 seat, bytes32 hash) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.Succession);
        uint16 question = job.terms.tasks;
        // INVARIANT: only a gatherer that posted follows the coordinator, when its turn has come.
        if ((r.gathered >> seat) & 1 == 0) revert NotYourSeat(question, seat, address(0));
        address provider = r.gatherers[seat];
        _requireSeat(question, seat, provider);
        uint64 from = Succession.from(r, seat, job.terms.windows.update);
        if (block.number < from) revert SuccessionTooEarly(seat, from);
        r.proposed = true;
        r.proposer = seat + 1;
        _vault.lock(provider, msg.sender, job.terms.coordinatorBond);
        _record(id, Stage.Update, question, seat + 1, Seal(hash, provider, 0, false, false, msg.sender));
    }

    /// @inheritdoc IJobMarket
    function sealUpdateCheck(JobId id, uint32 round, uint16 seat, uint8 turn, bytes32 hash)
        external
        inRound(id, round)
    {
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.UpdateCheck);
        uint16 question = job.terms.tasks;
        // INVARIANT: of the gatherers, only those that posted what they hold check the update.
        if ((r.updateExpected >> seat) & 1 == 0) revert NotYourSeat(question, seat, address(0));
        address provider = _requireTurn(id, Stage.UpdateCheck, question, seat, turn);
        r.updateAnswered |= uint16(1) << seat;
        _seal(id, Stage.UpdateCheck, question, seat, provider, hash);
    }
}
