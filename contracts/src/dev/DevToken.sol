// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title The token of a development chain; a real deployment names one that exists.
contract DevToken is ERC20, ERC20Permit {
    /// @param holder receives the whole supply
    /// @param supply in the token's smallest unit
    constructor(address holder, uint256 supply) ERC20("gradproof dev token", "GPD") ERC20Permit("gradproof dev token") {
        _mint(holder, supply);
    }
}
