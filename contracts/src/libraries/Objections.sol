// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Job, Round, Store} from "../types/State.sol";
import {JobId, Phase, Stage} from "../types/Types.sol";
import {Acts} from "./Acts.sol";
import {Bits} from "./Bits.sol";
import {Sealing} from "./Sealing.sol";
import {VerifierRosters} from "./VerifierRosters.sol";
import {Works} from "./Works.sol";

/// @title Challenges of a revealed task, or of the update. Linked.
library Objections {
    using Bits for uint256;

    /// @notice Seals another outcome than the one that `question` came to.
    function challenge(Store storage s, IStakeVault vault, JobId id, uint16 question, address provider, bytes32 hash)
        external
    {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        bool ofUpdate = question == job.terms.tasks;
        Acts.requirePhase(r, id, ofUpdate ? Phase.UpdateChallenge : Phase.Gather);
        Acts.requireOperator(vault, provider);
        // INVARIANT: only a verifier of this round accuses, with a whole bond, and never itself.
        if (!VerifierRosters.enrolled(s.verifiers, provider, r.epoch)) revert IJobMarket.NotEnrolled(provider);
        if (provider == _accused(job, r, question, ofUpdate)) revert IJobMarket.OwnWork(provider);
        if (ofUpdate) {
            if (r.updateChallenged) revert IJobMarket.AlreadyDisputed(question);
            r.updateChallenged = true;
            Acts.seal(s, vault, id, Stage.UpdateChallenge, question, 0, provider, hash);
        } else {
            if (!r.openedTasks.has(question)) revert IJobMarket.NotSealed(question, 0);
            if (r.disputed.has(question)) revert IJobMarket.AlreadyDisputed(question);
            r.disputed = r.disputed.with(question);
            r.challenged = r.challenged.with(question);
            Acts.seal(s, vault, id, Stage.Challenge, question, 0, provider, hash);
        }
    }

    function _accused(Job storage job, Round storage r, uint16 question, bool ofUpdate) private view returns (address) {
        if (ofUpdate) return Sealing.proposal(r, question).provider;
        return Works.providerOf(job, r, question);
    }
}
