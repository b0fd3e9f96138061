// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round} from "../types/State.sol";

/// @title Which results the update must contain.
library Inclusion {
    /// @notice Finite results that were opened and that no verdict rejected or left undecided.
    function passed(Round storage r) internal view returns (uint256) {
        uint256 undecided = r.disputed & ~r.challenged & ~r.led;
        return r.openedTasks & ~r.nonFinite & ~r.rejected & ~undecided;
    }

    /// @notice Splits the passed results by what the gatherers hold; nobody's word counts on its own work.
    /// @return included held by more than half of the gatherers that may speak of it
    /// @return withheld held by none of two or more
    function split(Round storage r, uint16 gatherers) internal view returns (uint256 included, uint256 withheld) {
        uint256 candidates = passed(r);
        uint256[] memory spoken = new uint256[](gatherers);
        uint256[] memory held = new uint256[](gatherers);
        uint256 posted = 0;
        for (uint16 seat = 0; seat < gatherers; ++seat) {
            if ((r.gathered >> seat) & 1 == 0) continue;
            spoken[posted] = ~r.workOf[r.gatherers[seat]];
            held[posted] = r.holdings[seat] & spoken[posted];
            ++posted;
        }
        for (uint256 left = candidates; left != 0; left &= left - 1) {
            uint256 task = left & (~left + 1);
            uint256 votes = 0;
            uint256 holders = 0;
            for (uint256 g = 0; g < posted; ++g) {
                if (spoken[g] & task != 0) ++votes;
                if (held[g] & task != 0) ++holders;
            }
            if (2 * holders > votes) included |= task;
            else if (holders == 0 && votes >= 2) withheld |= task;
        }
    }
}
