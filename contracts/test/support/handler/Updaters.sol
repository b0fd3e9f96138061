// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RoundView, Stage} from "../../../src/types/Types.sol";
import {Checkers} from "./Checkers.sol";

/// @notice Update: the coordinator proposes, or a gatherer in its place; others check the proposal.
abstract contract Updaters is Checkers {
    /// @dev One coordinator leaves it to the gatherers: else too few of them would ever step in.
    function _propose() internal {
        if (deals[job].coordinator == coordinators[COORDINATORS - 1]) return;
        _answer(Stage.Update, deals[job].tasks, 0, deals[job].coordinator, 0);
    }

    function _succeed() internal {
        if (gathered[job].length == 0) return;
        uint16 seat = uint16(_pick(gathered[job].length));
        address provider = gathered[job][seat];
        for (uint256 i = 1; provider == address(0) && i < gathered[job].length; ++i) {
            seat = uint16((seat + 1) % gathered[job].length);
            provider = gathered[job][seat];
        }
        if (provider != address(0)) _answer(Stage.Update, deals[job].tasks, seat + 1, provider, 0);
    }

    function _checkUpdate(RoundView memory r) internal {
        uint16 seat = uint16(_pick(deals[job].gatherers + 2));
        if (seat >= deals[job].gatherers) return _take(r, Stage.UpdateCheck, deals[job].tasks, seat);
        (, address provider) = market.holderOf(job, Stage.UpdateCheck, deals[job].tasks, seat, 0);
        if (provider != address(0)) _answer(Stage.UpdateCheck, deals[job].tasks, seat, provider, 0);
    }

    function _challengeUpdate(RoundView memory r) internal {
        _challenge(deals[job].tasks, Stage.Update, r.proposer);
    }
}
