// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IStakeVault} from "../../src/interfaces/IStakeVault.sol";

/// @notice Takes one in a hundred of every transfer.
contract FeeToken is ERC20("fee", "FEE") {
    constructor() {
        _mint(msg.sender, 1e24);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0)) return super._update(from, to, value);
        super._update(from, address(0xFEE), value / 100);
        super._update(from, to, value - value / 100);
    }
}

/// @notice Calls back into the vault while the vault moves it.
contract CallbackToken is ERC20("callback", "CB") {
    IStakeVault public vault;

    constructor() {
        _mint(msg.sender, 1e24);
    }

    function arm(IStakeVault target) external {
        vault = target;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (address(vault) != address(0)) vault.collect(address(0xBAD));
        super._update(from, to, value);
    }
}
