// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Bits} from "../libraries/Bits.sol";
import {Postings} from "../libraries/Postings.sol";
import {Seats} from "../libraries/Seats.sol";
import {Snapshots} from "../libraries/Snapshots.sol";
import {Round} from "../types/State.sol";
import {JobId, JobView, RoundView, Seal, Stage, Terms} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title What anybody can read.
abstract contract Views is MarketStorage {
    using Bits for uint256;

    /// @inheritdoc IJobMarket
    function advance(JobId id) external {
        _advance(id);
    }

    /// @inheritdoc IJobMarket
    function standing(JobId id) external returns (JobView memory, RoundView memory) {
        _advance(id);
        return (jobOf(id), roundOf(id));
    }

    /// @inheritdoc IJobMarket
    function termsOf(JobId id) external view returns (Terms memory) {
        return Snapshots.termsOf(_store, id);
    }

    /// @inheritdoc IJobMarket
    function jobOf(JobId id) public view returns (JobView memory) {
        return Snapshots.jobOf(_store, id);
    }

    /// @inheritdoc IJobMarket
    function roundOf(JobId id) public view returns (RoundView memory) {
        return Snapshots.roundOf(_store, id);
    }

    /// @inheritdoc IJobMarket
    function jobs() external view returns (uint256) {
        return _store.jobCount;
    }

    /// @inheritdoc IJobMarket
    function epoch() external view returns (uint64) {
        return _epochNow();
    }

    /// @inheritdoc IJobMarket
    function VAULT() external view returns (address) {
        return address(_vault);
    }

    /// @inheritdoc IJobMarket
    function requiredEscrow(Terms calldata terms) external pure returns (uint256) {
        return Postings.requiredEscrow(terms);
    }

    /// @inheritdoc IJobMarket
    function slotOfTask(JobId id, uint16 task) external view returns (uint32 slot, address provider) {
        return Snapshots.slotOfTask(_store, id, task);
    }

    /// @inheritdoc IJobMarket
    function holderOf(JobId id, Stage stage, uint16 question, uint16 seat, uint8 turn)
        external
        view
        returns (uint32 slot, address provider)
    {
        (, Round storage r) = _open(id);
        bool known = stage == Stage.Panel || stage == Stage.UpdateCheck || stage == Stage.UpdatePanel;
        if (!known && !(stage == Stage.Check && r.drawn.has(question))) revert NotDrawn(question);
        return Seats.holder(_store, id, stage, question, seat, turn);
    }

    /// @inheritdoc IJobMarket
    function turnOf(JobId id, Stage stage, uint16 question, uint16 seat) external view returns (uint8) {
        return Seats.turnOf(_store, id, stage, question, seat);
    }

    /// @inheritdoc IJobMarket
    function sealOf(JobId id, uint32 round, Stage stage, uint16 question, uint16 seat)
        external
        view
        returns (Seal memory)
    {
        return Snapshots.sealOf(_store, id, round, stage, question, seat);
    }

    /// @inheritdoc IJobMarket
    function gatheredBy(JobId id, uint32 round, uint16 seat) external view returns (uint256 bitmap) {
        return _store.jobs[id].rounds[round].holdings[seat];
    }

    /// @inheritdoc IJobMarket
    function workerRoster(JobId id) external view returns (uint32[] memory slots, address[] memory providers) {
        return Snapshots.workerRoster(_store, id);
    }

    /// @inheritdoc IJobMarket
    function verifierRoster(uint64 ofEpoch) external view returns (uint32[] memory slots, address[] memory providers) {
        return Snapshots.verifierRoster(_store, ofEpoch);
    }
}
