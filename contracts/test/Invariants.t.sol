// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Assertions} from "./support/Assertions.sol";
import {Handler} from "./support/handler/Handler.sol";

/// @notice The protocol's invariants, section 9 of docs/protocol.md, under random play.
/// @dev Forge plays one campaign per contract, so that two of them use two cores. `make invariants` plays longer.
abstract contract Campaign is Assertions {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler internal handler;

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev Weighted: most calls act within the phase.
    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](16);
        for (uint256 i = 0; i < 16; ++i) {
            selectors[i] = Handler.act.selector;
        }
        (selectors[0], selectors[1]) = (handler.wait.selector, handler.wait.selector);
        (selectors[2], selectors[3], selectors[4]) =
        (handler.roster.selector, handler.money.selector, handler.steal.selector);
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    /// @notice Forge calls this after every few calls. Invariants 2, 4, 5 and 6 are also asserted inside each call.
    function invariant_booksAgree_roundsAreCovered_bondsBackOneSealEach() public view {
        handler.assertBooksAgree();
        handler.assertRoundsAreCovered();
        handler.assertBondsBackOneSealEach();
    }

    /// @notice Forge calls this at the end of every run.
    function afterInvariant() public {
        handler.assertReached();
        handler.assertEverybodyGetsOut();
    }
}

/// @notice Most providers keep the rules.
contract CalmInvariantsTest is Campaign {
    function setUp() public {
        handler = new Handler(3);
    }
}

/// @notice Most do not.
contract WildInvariantsTest is Campaign {
    function setUp() public {
        handler = new Handler(7);
    }
}
