// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {RosterBook} from "../libraries/RosterBook.sol";
import {Job, Round, VerifierSlot, WorkerSlot} from "../types/State.sol";
import {JobId, Phase} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Who may be drawn: workers job by job, verifiers epoch by epoch.
/// @notice Rosters are fixed before the randomness that draws from them is known.
abstract contract Rosters is MarketStorage {
    // Phases that a round goes through at most once, each with a window; the rest wait for a beacon.
    uint256 private constant WINDOWS_PER_ROUND = 14;
    uint256 private constant BEACONS_PER_ROUND = 6;

    /// @dev Moves the phase, changes the roster where it may change, moves the phase again.
    modifier unfrozen(JobId id) {
        _advance(id);
        (, Round storage r) = _open(id);
        Phase phase = r.phase;
        // INVARIANT: nobody joins or leaves between the beacon that assigns tasks and the one that draws checks.
        if (phase == Phase.Seed || phase == Phase.Commit || phase == Phase.Draw) revert RosterFrozen(id, phase);
        _;
        _advance(id);
    }

    // --- workers ---

    /// @inheritdoc IJobMarket
    function join(JobId id, address provider, uint16 slots) external unfrozen(id) {
        (Job storage job, Round storage r) = _open(id);
        if (r.phase == Phase.Ended) revert NotInPhase(id, r.phase);
        _requireOperator(provider);
        RosterBook.join(_store, id, provider, slots);
        _vault.lock(provider, msg.sender, uint256(slots) * job.terms.bond);
    }

    /// @inheritdoc IJobMarket
    function leave(JobId id, uint32 slot) external unfrozen(id) {
        _requireOwnerOrOperator(_store.jobs[id].slots[slot].provider);
        _unlockSlot(id, RosterBook.leave(_store, id, slot));
    }

    /// @inheritdoc IJobMarket
    function drop(JobId id, uint32 slot, uint16 task) external unfrozen(id) {
        _unlockSlot(id, RosterBook.drop(_store, id, slot, task));
    }

    // --- verifiers ---

    /// @inheritdoc IJobMarket
    function enrol(address provider, uint16 slots) external {
        _requireOperator(provider);
        RosterBook.enrol(_store, provider, slots, _epochNow() + 1);
        _vault.lock(provider, msg.sender, uint256(slots) * _slotBond);
    }

    /// @inheritdoc IJobMarket
    function retire(uint32 slot) external {
        VerifierSlot storage s = _store.verifiers.slots[slot];
        if (s.provider == address(0) || s.leftEpoch != 0) revert NoSuchSlot(slot);
        _requireOwnerOrOperator(s.provider);
        RosterBook.retire(_store, slot, _epochNow() + 1);
    }

    /// @inheritdoc IJobMarket
    function release(uint32 slot) external {
        VerifierSlot storage s = _store.verifiers.slots[slot];
        if (s.leftEpoch == 0 || s.released) revert NoSuchSlot(slot);
        // INVARIANT: a slot bond stays until the last round that may draw the slot is over.
        uint256 until = s.leftEpoch + Math.ceilDiv(longestRound(), _epochBlocks) + 1;
        if (_epochNow() < until) revert SlotBonded(slot, uint64(until));
        s.released = true;
        emit VerifierReleased(slot, s.provider);
        _vault.unlock(s.provider, s.operator, _slotBond);
    }

    /// @inheritdoc IJobMarket
    function longestRound() public view returns (uint256) {
        return WINDOWS_PER_ROUND * _maxWindow + BEACONS_PER_ROUND * (uint256(_beaconDelay) + 1);
    }

    // --- inside ---

    /// @dev Leaving needs no hot key: an owner that revoked them all still gets its bonds back.
    function _requireOwnerOrOperator(address provider) private view {
        if (msg.sender != provider) _requireOperator(provider);
    }

    function _unlockSlot(JobId id, WorkerSlot memory gone) private {
        if (gone.backs == 0) _vault.unlock(gone.provider, gone.operator, _store.jobs[id].terms.bond);
    }
}
