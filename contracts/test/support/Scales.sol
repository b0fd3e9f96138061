// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Stage} from "../../src/types/Types.sol";
import {LastWei} from "./LastWei.sol";
import {vm} from "./Vm.sol";

/// @notice Weighs every actor before and after, so that a test says who gained what and nobody else did.
abstract contract Scales is LastWei {
    error WrongGain(string who, int256 got, int256 wanted);

    mapping(address owner => uint256) private _had;
    mapping(address owner => int256) private _due;
    uint256 private _burntBefore;

    /// @notice Weighs everybody; what follows is measured against it.
    function weigh() internal {
        for (uint256 i = 0; i < workers.length; ++i) {
            _reset(workers[i]);
        }
        for (uint256 i = 0; i < verifiers.length; ++i) {
            _reset(verifiers[i]);
        }
        _reset(coordinatorOwner);
        _burntBefore = burnt();
    }

    /// @notice Adds to what an owner is expected to have gained.
    function due(address owner, int256 amount) internal {
        _due[owner] += amount;
    }

    /// @notice Expects w for every task and f for every drawn one, but nothing for the task `except` and its check.
    function dueForOthers(uint16 except) internal {
        uint256 drawn = market.roundOf(job).drawn;
        for (uint16 task = 0; task < market.termsOf(job).tasks; ++task) {
            if (task == except) continue;
            (, address provider) = workerOf(task);
            due(provider, int256(uint256(W)));
            if ((drawn >> task) & 1 == 1) due(holder(Stage.Check, task, 0), int256(uint256(F)));
        }
    }

    /// @notice Compares everybody with what was due, and the burnt total with `burntNow`; from here on, too, time alone
    /// brings everybody's last wei home.
    function balance(uint256 burntNow) internal {
        for (uint256 i = 0; i < workers.length; ++i) {
            _compare("worker", workers[i]);
        }
        for (uint256 i = 0; i < verifiers.length; ++i) {
            _compare("verifier", verifiers[i]);
        }
        _compare("coordinator", coordinatorOwner);
        assertEq(burnt() - _burntBefore, burntNow, "burnt");
        assertBooks();
        uint256 here = vm.snapshotState();
        endAndWithdraw();
        vm.revertToState(here);
    }

    function _reset(address owner) private {
        _had[owner] = wealth(owner);
        _due[owner] = 0;
    }

    function _compare(string memory who, address owner) private view {
        int256 got = int256(wealth(owner)) - int256(_had[owner]);
        if (got != _due[owner]) revert WrongGain(who, got, _due[owner]);
    }
}
