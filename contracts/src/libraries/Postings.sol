// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Job, Round, Store} from "../types/State.sol";
import {Config, JobId, Permit, Phase, Terms} from "../types/Types.sol";
import {Permits} from "./Permits.sol";
import {TermsCheck} from "./TermsCheck.sol";

/// @title Writes a new job into the store. Linked: it is long and runs once per job.
library Postings {
    /// @notice Checks the terms, pulls the escrow and stores the job, waiting for its first round.
    function post(Store storage s, IStakeVault vault, Config memory c, Terms calldata terms, uint256 escrow)
        external
        returns (JobId id)
    {
        TermsCheck.check(terms, c, escrow);
        id = JobId.wrap(s.jobCount + 1);
        // INVARIANT: no job without its escrow, not even for a token that calls back while it is pulled.
        vault.fund(id, msg.sender, escrow);
        ++s.jobCount;
        Job storage job = s.jobs[id];
        job.requester = msg.sender;
        job.terms = terms;
        job.stateRoot = terms.genesisRoot;
        job.stateCid = terms.genesisCid;
        Round storage r = job.rounds[0];
        r.phase = Phase.Waiting;
        r.deadline = uint64(block.number + terms.windows.waiting);
        emit IJobMarket.JobPosted(id, msg.sender, escrow, terms);
        emit IJobMarket.PhaseChanged(id, 0, Phase.Waiting, r.deadline, 0);
    }

    /// @notice Tries the requester's permit for its escrow.
    function tryPermit(IStakeVault vault, uint256 escrow, Permit calldata permit) external {
        Permits.tryPermit(vault.TOKEN(), address(vault), escrow, permit);
    }

    /// @notice The least escrow that a job with these terms can be posted with.
    function requiredEscrow(Terms calldata terms) external pure returns (uint256) {
        return TermsCheck.requiredEscrow(terms);
    }
}
