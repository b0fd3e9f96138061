// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {MAX_GATHERERS, MAX_SLOTS, MAX_TASKS, MAX_VERIFIERS} from "../types/State.sol";
import {Config, Terms, Windows} from "../types/Types.sol";

/// @title What a job must promise before anybody works for it.
library TermsCheck {
    /// @notice Reverts with the first term that is out of bounds, or with an escrow below the worst case.
    function check(Terms calldata t, Config memory c, uint256 escrow) internal pure {
        _identity(t);
        _counts(t, c);
        _money(t, c);
        _windows(t.windows, c);
        uint256 required = requiredEscrow(t);
        // INVARIANT: the worst case of every round is in escrow before the first one opens.
        if (escrow < required) revert IJobMarket.EscrowTooSmall(escrow, required);
    }

    /// @notice R * (T*w + J*f + (G+3)*u); panels live on slashed bonds.
    function requiredEscrow(Terms calldata t) internal pure returns (uint256) {
        uint256 perRound =
            uint256(t.tasks) * t.reward + uint256(t.checks) * t.fee + (uint256(t.gatherers) + 3) * t.updateFee;
        return t.rounds * perRound;
    }

    function _identity(Terms calldata t) private pure {
        _atLeast("manifest", uint256(t.manifest), 1);
        _atLeast("genesisRoot", uint256(t.genesisRoot), 1);
        _atLeast("genesisCid", uint256(t.genesisCid), 1);
        _atLeast("coordinator", uint160(t.coordinator), 1);
    }

    function _counts(Terms calldata t, Config memory c) private pure {
        _atLeast("rounds", t.rounds, 1);
        _atMost("rounds", t.rounds, c.maxRounds);
        _atLeast("tasks", t.tasks, 1);
        _atMost("tasks", t.tasks, MAX_TASKS);
        _atLeast("checks", t.checks, 1);
        _atMost("checks", t.checks, t.tasks);
        _atLeast("gatherers", t.gatherers, 3);
        _atMost("gatherers", t.gatherers, MAX_GATHERERS);
        _odd("gatherers", t.gatherers);
        _atMost("panel", t.panel, c.maxPanel);
        _odd("panel", t.panel);
        _atLeast("maxFailedRounds", t.maxFailedRounds, 1);
        _atLeast("minWorkers", t.minWorkers, 1);
        _atMost("minWorkers", t.minWorkers, MAX_SLOTS);
        _atLeast("minVerifiers", t.minVerifiers, uint256(t.checks) + t.gatherers + t.panel);
        _atMost("minVerifiers", t.minVerifiers, MAX_VERIFIERS);
    }

    function _money(Terms calldata t, Config memory c) private pure {
        // INVARIANT: half of a reward, which is what idleness costs, is not nothing.
        _atLeast("reward", t.reward, 2);
        // INVARIANT: checking pays no less than working.
        _atLeast("fee", t.fee, t.reward);
        // INVARIANT: a bond outweighs what a cheat saves, after the fees of a panel that may be the cheat's friends.
        uint256 deterrent = Math.ceilDiv(3 * uint256(t.reward) * t.tasks, t.checks);
        _atLeast("bond", t.bond, deterrent + uint256(t.panel) * t.fee);
        _atLeast("bond", t.bond, uint256(t.panel) * t.updateFee);
        _atMost("bond", t.bond, c.maxBond);
        _atLeast("coordinatorBond", t.coordinatorBond, uint256(t.tasks) * t.reward + uint256(t.panel) * t.updateFee);
    }

    function _windows(Windows calldata w, Config memory c) private pure {
        _window("waiting", w.waiting, c);
        _window("commit", w.commit, c);
        _window("check", w.check, c);
        _window("reveal", w.reveal, c);
        _window("gather", w.gather, c);
        _window("verdictSeal", w.verdictSeal, c);
        _window("verdictOpen", w.verdictOpen, c);
        _window("update", w.update, c);
        _window("updateCheck", w.updateCheck, c);
        _window("updateOpen", w.updateOpen, c);
        _window("updateChallenge", w.updateChallenge, c);
    }

    function _window(bytes32 name, uint256 value, Config memory c) private pure {
        _atLeast(name, value, c.minWindow);
        _atMost(name, value, c.maxWindow);
    }

    function _atLeast(bytes32 name, uint256 value, uint256 bound) private pure {
        if (value < bound) revert IJobMarket.BadTerm(name, value, bound);
    }

    function _atMost(bytes32 name, uint256 value, uint256 bound) private pure {
        if (value > bound) revert IJobMarket.BadTerm(name, value, bound);
    }

    /// @dev The bound named for an even number is the next odd one.
    function _odd(bytes32 name, uint256 value) private pure {
        if (value % 2 == 0) revert IJobMarket.BadTerm(name, value, value + 1);
    }
}
