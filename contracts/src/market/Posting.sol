// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Postings} from "../libraries/Postings.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Permit, Phase, Terms} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Before the first round and after the last: posting, accepting, stopping.
abstract contract Posting is MarketStorage {
    /// @inheritdoc IJobMarket
    function post(Terms calldata terms, uint256 escrow) external nonReentrant returns (JobId id) {
        return Postings.post(_store, _vault, config(), terms, escrow);
    }

    /// @inheritdoc IJobMarket
    function postWithPermit(Terms calldata terms, uint256 escrow, Permit calldata permit)
        external
        nonReentrant
        returns (JobId id)
    {
        Postings.tryPermit(_vault, escrow, permit);
        return Postings.post(_store, _vault, config(), terms, escrow);
    }

    /// @inheritdoc IJobMarket
    function accept(JobId id, address provider) external {
        _advance(id);
        (Job storage job, Round storage r) = _open(id);
        _requirePhase(id, r, Phase.Waiting);
        address coordinator = job.terms.coordinator;
        if (msg.sender != coordinator) revert OnlyCoordinator(coordinator, msg.sender);
        // INVARIANT: nobody is made a coordinator; it accepts, with its bond.
        if (job.coordinatorProvider != address(0)) revert AlreadyAccepted(id);
        _requireOperator(provider);
        job.coordinatorProvider = provider;
        emit CoordinatorAccepted(id, provider, msg.sender);
        _vault.lock(provider, msg.sender, job.terms.coordinatorBond);
        _advance(id);
    }

    /// @inheritdoc IJobMarket
    function stop(JobId id) external {
        _advance(id);
        (Job storage job, Round storage r) = _open(id);
        if (msg.sender != job.requester) revert OnlyRequester(job.requester, msg.sender);
        if (r.phase == Phase.Ended || job.stopped) revert NotInPhase(id, r.phase);
        job.stopped = true;
        emit JobStopped(id);
        _advance(id);
    }
}
