// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Openings} from "../libraries/Openings.sol";
import {SealRef} from "../libraries/Sealing.sol";
import {JobId, Outcome, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Reveal: anybody who holds an opening may send it, in the phase that its stage is opened in.
abstract contract Reveal is MarketStorage {
    /// @inheritdoc IJobMarket
    function open(
        JobId id,
        uint32 round,
        Stage stage,
        uint16 question,
        uint16 seat,
        Outcome calldata outcome,
        bytes32 salt
    ) external inRound(id, round) {
        Openings.open(_store, SealRef(id, round, question, stage), seat, outcome, salt);
    }
}
