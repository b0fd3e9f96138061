// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Env, Flow} from "../libraries/Flow.sol";
import {Sealing} from "../libraries/Sealing.sol";
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

    Store internal _store;

    constructor(IStakeVault vault, Config memory c) {
        // INVARIANT: market and vault know each other, and nobody else, for ever.
        if (vault.MARKET() != address(this)) revert WrongVault(address(this), vault.MARKET());
        if (c.epochBlocks == 0) revert BadConfig("epochBlocks", c.epochBlocks);
        if (c.beaconDelay == 0) revert BadConfig("beaconDelay", c.beaconDelay);
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
            maxBond: _maxBond
        });
    }

    /// @dev Moves the phase, acts in the given round, moves it again.
    modifier inRound(JobId job, uint32 round) {
        _advance(job);
        // INVARIANT: a message for another round changes nothing.
        if (_store.jobs[job].round != round) revert NotInRound(job, _store.jobs[job].round, round);
        _;
        _advance(job);
    }

    function _advance(JobId job) internal {
        if (_store.jobs[job].requester == address(0)) revert NoSuchJob(job);
        Flow.advance(_store, Env({vault: _vault, epochBlocks: _epochBlocks, beaconDelay: _beaconDelay}), job);
    }

    function _open(JobId job) internal view returns (Job storage j, Round storage r) {
        j = _store.jobs[job];
        r = j.rounds[j.round];
    }

    function _requirePhase(JobId job, Round storage r, Phase phase) internal view {
        // INVARIANT: each act belongs to one phase.
        if (r.phase != phase) revert NotInPhase(job, r.phase);
    }

    function _requireOperator(address provider) internal view {
        // INVARIANT: only a hot key that its owner named acts for a provider.
        (uint256 limit,) = _vault.operatorOf(provider, msg.sender);
        if (limit == 0) revert NotOperatorOf(provider, msg.sender);
    }

    /// @dev A seat is served by any operator of its holder.
    function _requireSeat(uint16 question, uint16 seat, address holder) internal view {
        (uint256 limit,) = _vault.operatorOf(holder, msg.sender);
        if (holder == address(0) || limit == 0) revert NotYourSeat(question, seat, holder);
    }

    /// @dev Stores a seal with a bond of its own.
    function _seal(JobId job, Stage stage, uint16 question, uint16 seat, address provider, bytes32 hash) internal {
        _vault.lock(provider, msg.sender, _store.jobs[job].terms.bond);
        _record(job, stage, question, seat, Seal(hash, provider, 0, false, msg.sender, 0));
    }

    function _record(JobId job, Stage stage, uint16 question, uint16 seat, Seal memory s) internal {
        (Job storage j, Round storage r) = _open(job);
        if (s.hash == 0) revert ZeroHash();
        uint256 key = Sealing.key(stage, question, seat);
        // INVARIANT: a seat seals once.
        if (r.seals[key].hash != 0) revert AlreadySealed(question, seat);
        r.seals[key] = s;
        emit Sealed(job, j.round, stage, question, seat, s.provider, msg.sender, s.hash);
    }

    function _epochNow() internal view returns (uint64) {
        return uint64(block.number / _epochBlocks);
    }
}
