// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase, RoundView} from "../../../src/types/Types.sol";
import {vm} from "../Vm.sol";
import {Moves} from "./Moves.sol";

/// @notice Lets blocks pass. Before a window closes, the honest ones open what they have sealed: they keep their word.
abstract contract Clock is Moves {
    uint256 private constant FORGOTTEN = 300; // blocks after which a block's hash can no longer be read

    /// @notice Time passes; in a window only now and then to its end, so that its work gets done.
    function wait(uint256 seed) external seeded(seed) {
        job = playing[_pick(JOBS)];
        RoundView memory r = market.roundOf(job);
        if (r.beaconBlock != 0) _elapse(r.beaconBlock + (_pick(16) == 0 ? FORGOTTEN : 1));
        else if (r.deadline != 0 && _pick(4) == 0) _elapse(r.deadline);
        else _elapse(block.number + 1 + _pick(4));
        if (_pick(2) == 0) _advance();
    }

    /// @dev Rolls to a block; a target that lies behind us is now.
    function _elapse(uint256 to) internal {
        if (to <= block.number) return;
        JobId current = job;
        for (uint256 i = 0; i < JOBS; ++i) {
            job = playing[i];
            _keepWord(to);
        }
        job = current;
        vm.roll(to);
    }

    /// @dev An opening may close a phase and so begin the next one, which may close before `to`, too.
    function _keepWord(uint256 to) private {
        for (uint256 i = 0; i < 3; ++i) {
            RoundView memory r = market.roundOf(job);
            if (abandoned || r.deadline == 0 || r.deadline > to || r.deadline <= block.number) return;
            _openForTheHonest(r);
        }
    }
}
