// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "./Vm.sol";

/// @notice The history of block hashes that a chain has, or has not, by EIP-2935: its own code, fed as the chain does.
library History {
    address private constant WHERE = 0x0000F90827F1C53a10cb7A02335B175320002935;
    address private constant SYSTEM = 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE;
    bytes private constant CODE = hex"3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff"
        hex"81430311604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500";

    error NotRemembered();

    /// @notice A chain that has it.
    function install() internal {
        vm.etch(WHERE, CODE);
    }

    /// @notice A chain that has not.
    function remove() internal {
        vm.etch(WHERE, "");
    }

    /// @notice What the chain does at the beginning of the block after `number`.
    function remember(uint64 number, bytes32 hash) internal {
        vm.roll(number + 1);
        vm.prank(SYSTEM);
        (bool done,) = WHERE.call(abi.encode(hash));
        if (!done) revert NotRemembered();
    }
}
