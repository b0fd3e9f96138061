// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round} from "../types/State.sol";
import {Bits} from "./Bits.sol";

/// @title Who proposes the update when the coordinator did not: the gatherers that posted, by seat, one after the other.
library Succession {
    using Bits for uint256;

    /// @notice First block in which a gatherer may propose; earlier ones still may, too.
    /// @dev The window is cut evenly among the gatherers that posted; the first may begin at once.
    function from(Round storage r, uint8 seat, uint256 window) internal view returns (uint64) {
        uint256 posted = r.gathered;
        uint256 before = (posted & ((uint256(1) << seat) - 1)).count();
        return uint64(r.deadline - window + window * before / posted.count());
    }
}
