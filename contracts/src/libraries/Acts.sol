// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Round, Store} from "../types/State.sol";
import {JobId, Phase, Seal, Stage} from "../types/Types.sol";
import {Sealing} from "./Sealing.sol";

/// @title What every act of a round stands on: who may act, when, and how a seal is stored.
library Acts {
    function requirePhase(Round storage r, JobId job, Phase phase) internal view {
        // INVARIANT: each act belongs to one phase.
        if (r.phase != phase) revert IJobMarket.NotInPhase(job, r.phase);
    }

    function requireOperator(IStakeVault vault, address provider) internal view {
        // INVARIANT: only a hot key that its owner named acts for a provider.
        (uint256 limit,) = vault.operatorOf(provider, msg.sender);
        if (limit == 0) revert IJobMarket.NotOperatorOf(provider, msg.sender);
    }

    /// @dev A seat is served by any operator of its holder.
    function requireSeat(IStakeVault vault, uint16 question, uint16 seat, address holder) internal view {
        (uint256 limit,) = vault.operatorOf(holder, msg.sender);
        if (holder == address(0) || limit == 0) revert IJobMarket.NotYourSeat(question, seat, holder);
    }

    /// @dev Stores a seal with a bond of its own.
    function seal(
        Store storage s,
        IStakeVault vault,
        JobId job,
        Stage stage,
        uint16 question,
        uint16 seat,
        address provider,
        bytes32 hash
    ) internal {
        vault.lock(provider, msg.sender, s.jobs[job].terms.bond);
        record(s, job, stage, question, seat, Seal(hash, provider, 0, false, false, msg.sender));
    }

    function record(Store storage s, JobId job, Stage stage, uint16 question, uint16 seat, Seal memory x) internal {
        uint32 round = s.jobs[job].round;
        Round storage r = s.jobs[job].rounds[round];
        if (x.hash == 0) revert IJobMarket.ZeroHash();
        uint256 key = Sealing.key(stage, question, seat);
        // INVARIANT: a seat seals once.
        if (r.seals[key].hash != 0) revert IJobMarket.AlreadySealed(question, seat);
        r.seals[key] = x;
        emit IJobMarket.Sealed(job, round, stage, question, seat, x.provider, msg.sender, x.hash);
    }
}
