// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IBeacon} from "../interfaces/IBeacon.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Acts} from "../libraries/Acts.sol";
import {Env, Flow} from "../libraries/Flow.sol";
import {Seats} from "../libraries/Seats.sol";
import {Job, Round, Store} from "../types/State.sol";
import {Config, JobId, Phase, Seal, Stage} from "../types/Types.sol";

/// @title What every phase stands on: the one store, the deployment's constants, the guards.
abstract contract MarketStorage is IJobMarket, ReentrancyGuardTransient {
    IStakeVault internal immutable _vault;
    uint32 internal immutable _epochBlocks;
    uint32 internal immutable _beaconDelay;
    uint32 internal immutable _minWindow;
    uint32 internal immutable _maxWindow;
    uint32 internal immutable _maxRounds;
    uint8 internal immutable _maxPanel;
    uint96 internal immutable _slotBond;
    uint96 internal immutable _maxBond;
    IBeacon internal immutable _beacon;

    Store internal _store;

    constructor(IStakeVault vault, Config memory c) {
        if (c.epochBlocks == 0) revert BadConfig("epochBlocks", c.epochBlocks);
        if (address(c.beacon).code.length == 0) revert BadConfig("beacon", uint160(address(c.beacon)));
        // INVARIANT: nobody knows a beacon while it is armed.
        if (c.beaconDelay < c.beacon.leastDelay()) revert BadConfig("beaconDelay", c.beaconDelay);
        if (c.minWindow == 0) revert BadConfig("minWindow", c.minWindow);
        if (c.maxWindow < c.minWindow) revert BadConfig("maxWindow", c.maxWindow);
        if (c.maxRounds == 0) revert BadConfig("maxRounds", c.maxRounds);
        if (c.maxPanel == 0) revert BadConfig("maxPanel", c.maxPanel);
        if (c.slotBond == 0) revert BadConfig("slotBond", c.slotBond);
        if (c.maxBond == 0) revert BadConfig("maxBond", c.maxBond);
        _vault = vault;
        _epochBlocks = c.epochBlocks;
        _beaconDelay = c.beaconDelay;
        _minWindow = c.minWindow;
        _maxWindow = c.maxWindow;
        _maxRounds = c.maxRounds;
        _maxPanel = c.maxPanel;
        _slotBond = c.slotBond;
        _maxBond = c.maxBond;
        _beacon = c.beacon;
    }

    /// @inheritdoc IJobMarket
    function config() public view returns (Config memory) {
        return Config({
            epochBlocks: _epochBlocks,
            beaconDelay: _beaconDelay,
            minWindow: _minWindow,
            maxWindow: _maxWindow,
            maxRounds: _maxRounds,
            maxPanel: _maxPanel,
            slotBond: _slotBond,
            maxBond: _maxBond,
            beacon: _beacon
        });
    }

    /// @dev Moves the phase, acts in the given round, moves it again.
    modifier inRound(JobId job, uint32 round) {
        _enterRound(job, round);
        _;
        _advance(job);
    }

    function _enterRound(JobId job, uint32 round) private {
        Round storage r = _store.jobs[job].rounds[_store.jobs[job].round];
        // Every call leaves a round moved as far as it goes: inside a window, only time moves it any further.
        if (block.number >= r.deadline || r.phase == Phase.Waiting) _advance(job);
        // INVARIANT: a message for another round changes nothing.
        if (_store.jobs[job].round != round) revert NotInRound(job, _store.jobs[job].round, round);
    }

    function _advance(JobId job) internal {
        if (_store.jobs[job].requester == address(0)) revert NoSuchJob(job);
        Env memory env = Env({vault: _vault, epochBlocks: _epochBlocks, beaconDelay: _beaconDelay, beacon: _beacon});
        Flow.advance(_store, env, job);
    }

    function _open(JobId job) internal view returns (Job storage j, Round storage r) {
        j = _store.jobs[job];
        r = j.rounds[j.round];
    }

    function _requirePhase(JobId job, Round storage r, Phase phase) internal view {
        Acts.requirePhase(r, job, phase);
    }

    function _requireOperator(address provider) internal view {
        Acts.requireOperator(_vault, provider);
    }

    function _requireSeat(uint16 question, uint16 seat, address holder) internal view {
        Acts.requireSeat(_vault, question, seat, holder);
    }

    /// @dev Candidate number `turn` of a check's seat, which the caller serves: its turn has come and it did not pass.
    function _requireTurn(JobId job, Stage stage, uint16 question, uint16 seat, uint8 turn)
        internal
        view
        returns (address provider)
    {
        provider = Seats.candidate(_store, job, stage, question, seat, turn);
        _requireSeat(question, seat, provider);
    }

    function _seal(JobId job, Stage stage, uint16 question, uint16 seat, address provider, bytes32 hash) internal {
        Acts.seal(_store, _vault, job, stage, question, seat, provider, hash);
    }

    function _record(JobId job, Stage stage, uint16 question, uint16 seat, Seal memory s) internal {
        Acts.record(_store, job, stage, question, seat, s);
    }

    function _epochNow() internal view returns (uint64) {
        return uint64(block.number / _epochBlocks);
    }
}
