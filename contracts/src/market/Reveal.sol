// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Openings} from "../libraries/Openings.sol";
import {JobId, Opening} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Reveal: anybody who holds an opening may send it, in the phase that its stage is opened in.
abstract contract Reveal is MarketStorage {
    /// @inheritdoc IJobMarket
    function open(JobId id, uint32 round, Opening[] calldata openings) external inRound(id, round) {
        Openings.open(_store, id, openings);
    }
}
