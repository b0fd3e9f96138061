// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {Permit} from "../types/Types.sol";

/// @title Spends a signed allowance where that works, and shrugs where it does not.
library Permits {
    /// @notice Tries the caller's permit. It may have been sent by somebody else before, the token may know no permits:
    /// the transfer that follows needs an allowance and decides.
    function tryPermit(address token, address spender, uint256 amount, Permit calldata p) internal {
        try IERC20Permit(token).permit(msg.sender, spender, amount, p.deadline, p.v, p.r, p.s) {} catch {}
    }
}
