// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeVault} from "./interfaces/IStakeVault.sol";
import {Check} from "./market/Check.sol";
import {Commit} from "./market/Commit.sol";
import {Gather} from "./market/Gather.sol";
import {MarketStorage} from "./market/MarketStorage.sol";
import {Posting} from "./market/Posting.sol";
import {Reveal} from "./market/Reveal.sol";
import {Rosters} from "./market/Rosters.sol";
import {Update} from "./market/Update.sol";
import {Verdict} from "./market/Verdict.sol";
import {Views} from "./market/Views.sol";
import {Config} from "./types/Types.sol";

/// @title The market: post -> commit -> draw -> check -> reveal -> gather -> verdict -> update -> finalise.
/// @notice One file per phase in `market/`; the phases follow each other in `libraries/Flow.sol`. No owner, no pause, no proxy.
contract JobMarket is Posting, Rosters, Commit, Check, Reveal, Gather, Verdict, Update, Views {
    /// @param vault deployed before, naming this address as its market
    /// @param c bounds of every job on this deployment
    constructor(IStakeVault vault, Config memory c) MarketStorage(vault, c) {}
}
