// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Config, JobId, Phase, RoundView} from "../../../src/types/Types.sol";
import {vm} from "../Vm.sol";
import {Clock} from "./Clock.sol";
import {Owners} from "./Owners.sol";
import {Thief} from "./Thief.sol";
import {Updaters} from "./Updaters.sol";
import {Workers} from "./Workers.sol";

/// @notice Plays three jobs at once, at random but guided: most calls fit the phase, so that the deep states are reached.
contract Handler is Workers, Updaters, Owners, Clock, Thief {
    uint256 private constant CALLS_PER_MOVE = 5_000;

    error TooRare(Move move, uint256 done, uint256 wanted);

    /// @param hostile of every ten providers, how many are not honest
    constructor(uint256 hostile) {
        cast(hostile);
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            vm.prank(operatorOf(verifiers[i]));
            market.enrol(verifiers[i], 1);
            verifierSlotOwner[++verifierSlots] = verifiers[i];
        }
        vm.roll(block.number + deploymentConfig().epochBlocks);
        for (uint256 i = 0; i < people.length; ++i) {
            wealthBook[people[i]] = wealth(people[i]);
            inside += wealthBook[people[i]];
        }
        for (uint256 i = 0; i < JOBS; ++i) {
            _restage(i);
        }
    }

    function deploymentConfig() internal view override returns (Config memory c) {
        c = super.deploymentConfig();
        c.maxWindow = 60; // so that released slots are seen in a run, too
    }

    /// @notice Something that fits the phase, by somebody entitled to it.
    function act(uint256 seed) external seeded(seed) {
        uint256 stage = _pick(JOBS);
        job = playing[stage];
        RoundView memory r = _pick(8) != 0 ? _advance() : market.roundOf(job);
        acted = false;
        if (r.phase == Phase.Ended) return _restage(stage);
        _perform(r);
        // Where nobody has anything to do any more, the window may as well pass.
        if (!acted && r.deadline != 0 && _pick(4) == 0) _elapse(r.deadline);
    }

    function _perform(RoundView memory r) private {
        Phase p = r.phase;
        if (p == Phase.Waiting) _fill();
        else if (r.beaconBlock != 0) _elapse(r.beaconBlock + 1);
        else if (block.number >= r.deadline) _advance();
        else if (p == Phase.Commit) _commit(r);
        else if (p == Phase.Check || p == Phase.Recheck) _check(r);
        else if (p == Phase.Gather) _gatherOrChallenge(r);
        else if (p == Phase.VerdictSeal || p == Phase.UpdateVerdictSeal) _judge(r);
        else if (p == Phase.Update) _propose();
        else if (p == Phase.Succession) _succeed();
        else if (p == Phase.UpdateCheck) _checkUpdate(r);
        else if (p == Phase.UpdateChallenge) _challengeUpdate(r);
        else _openOne(r);
    }

    // --- at the end of a run ---

    /// @notice The invariants are not vacuous: every kind of move succeeded, this often at least.
    /// @dev In proportion to the calls: forge also repeats the few calls of a failure that it remembers.
    function assertReached() external view {
        uint256 wanted = calls / CALLS_PER_MOVE;
        for (uint256 m = 0; m <= uint256(type(Move).max); ++m) {
            uint256 times = done[Move(m)];
            if (times < wanted) revert TooRare(Move(m), times, wanted);
        }
        assertTrue(
            settledRounds >= wanted && slashings >= wanted && updates >= wanted && voidRounds >= wanted / 2, "too tame"
        );
    }

    /// @notice INVARIANT 3: when everybody has gone, time and `advance` end every job, and owners get their last wei.
    function assertEverybodyGetsOut() external {
        abandoned = true;
        for (uint256 i = 0; i < JOBS; ++i) {
            job = playing[i];
            for (uint256 step = 0; market.roundOf(job).phase != Phase.Ended; ++step) {
                assertTrue(step < 300, "a job that time does not end");
                RoundView memory r = market.roundOf(job);
                vm.roll(_most(block.number, r.beaconBlock != 0 ? r.beaconBlock + 1 : r.deadline));
                _advance();
            }
            _clear();
        }
        _disband();
        for (uint256 i = 0; i < JOBS; ++i) {
            if (vault.creditOf(_requester(i)) != 0) _collect(_requester(i));
        }
        for (uint256 i = 0; i < people.length; ++i) {
            if (vault.creditOf(people[i]) != 0) _collect(people[i]);
            uint256 free = vault.freeOf(people[i]);
            vm.prank(people[i]);
            vault.withdraw(free, people[i]);
            assertEq(wealth(people[i]), 0, "an owner left something behind");
        }
        assertEq(token.balanceOf(address(vault)), burnt(), "what is left is what was burnt");
    }

    /// @dev Every verifier slot retires, and is released when no round can use it any more.
    function _disband() private {
        for (uint32 slot = 1; slot <= verifierSlots; ++slot) {
            if (verifierSlotOwner[slot] == address(0)) continue;
            vm.prank(verifierSlotOwner[slot]);
            try market.retire(slot) {} catch {} // it may have retired before
        }
        vm.roll(block.number + market.longestRound() + 4 * uint256(deploymentConfig().epochBlocks));
        for (uint32 slot = 1; slot <= verifierSlots; ++slot) {
            if (verifierSlotOwner[slot] != address(0)) market.release(slot);
        }
    }
}
