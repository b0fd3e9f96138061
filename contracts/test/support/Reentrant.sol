// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ITokenHolder} from "./Tokens.sol";

/// @notice Owner, operator, requester and coordinator in one, that calls something while the token moves its money.
contract Reentrant is ITokenHolder {
    address private _target;
    bytes private _call;
    bool private _inside;

    uint256 public calls;
    bool public succeeded;
    bytes public answer;

    function arm(address target, bytes memory call) external {
        (_target, _call, calls, succeeded, answer) = (target, call, 0, false, "");
    }

    function execute(address target, bytes memory data) external returns (bytes memory) {
        return Address.functionCall(target, data);
    }

    /// @dev While it calls, it does not call again.
    function tokensMove() external {
        if (_target == address(0) || _inside) return;
        _inside = true;
        (succeeded, answer) = _target.call(_call);
        ++calls;
        _inside = false;
    }
}
