// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Job, Round} from "../types/State.sol";
import {Bits} from "./Bits.sol";
import {Works} from "./Works.sol";

/// @title Which results the update must contain.
library Inclusion {
    using Bits for uint256;

    /// @notice Finite results that were opened and that no verdict rejected or left undecided.
    function passed(Round storage r) internal view returns (uint256) {
        uint256 undecided = r.disputed & ~r.challenged & ~r.led;
        return r.openedTasks & ~r.nonFinite & ~r.rejected & ~undecided;
    }

    /// @notice Splits the passed results by what the gatherers hold; nobody's word counts on its own work.
    /// @return included held by more than half of the gatherers that may speak of it
    /// @return withheld held by none of two or more
    function split(Job storage job, Round storage r) internal view returns (uint256 included, uint256 withheld) {
        uint256 candidates = passed(r);
        uint16 gatherers = job.terms.gatherers;
        address[] memory providers = new address[](gatherers);
        uint256[] memory held = new uint256[](gatherers);
        uint256 posted = 0;
        for (uint16 seat = 0; seat < gatherers; ++seat) {
            if ((r.gathered >> seat) & 1 == 0) continue;
            providers[posted] = r.gatherers[seat];
            held[posted] = r.holdings[seat];
            ++posted;
        }
        uint256[] memory own = Works.tasksOf(job, r, providers);
        for (uint256 left = candidates; left != 0; left &= left - 1) {
            (uint256 asked, uint256 holders) = _count(left.lowest(), posted, own, held);
            uint256 task = left & (~left + 1);
            if (2 * holders > asked) included |= task;
            else if (holders == 0 && asked >= 2) withheld |= task;
        }
    }

    /// @dev Unchecked: numbers of gatherers, task by task.
    function _count(uint256 task, uint256 posted, uint256[] memory own, uint256[] memory held)
        private
        pure
        returns (uint256 asked, uint256 holders)
    {
        unchecked {
            for (uint256 g = 0; g < posted; ++g) {
                uint256 speaks = (~own[g] >> task) & 1;
                asked += speaks;
                holders += speaks & (held[g] >> task);
            }
        }
    }
}
