// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {StakeVault} from "./StakeVault.sol";
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
/// Several acts of one key fit into one transaction (`multicall`): they pay once for what they all touch.
contract JobMarket is Multicall, Posting, Rosters, Commit, Check, Reveal, Gather, Verdict, Update, Views {
    /// @dev The market makes its vault itself, so that the two know each other whatever their addresses are derived from.
    /// @param token of every bond and payment
    /// @param c bounds of every job on this deployment
    constructor(address token, Config memory c) MarketStorage(new StakeVault(token, address(this)), c) {}
}
