// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Assertions} from "./support/Assertions.sol";
import {Bonds} from "./support/Bonds.sol";
import {Handler} from "./support/Handler.sol";

/// @notice The protocol's invariants under random play.
contract InvariantsTest is Assertions {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    error TooRare(Handler.Move move, uint256 done);

    Bonds private handler;

    function setUp() public {
        handler = new Bonds();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](8);
        // Weighted: most calls act within the phase.
        (selectors[0], selectors[1], selectors[2]) =
        (Handler.act.selector, Handler.wait.selector, Handler.roster.selector);
        selectors[3] = Handler.money.selector;
        for (uint256 i = 4; i < 8; ++i) {
            selectors[i] = Handler.act.selector;
        }
        targets[0] = FuzzSelector(address(handler), selectors);
    }

    /// @notice One function, because forge plays a campaign for each.
    function invariant_booksBalance_roundsAreCovered_bondsBackOneSeal_payWaits() public view {
        handler.assertAllBooks();
        handler.assertCovered();
        handler.assertBonds();
        assertTrue(!handler.paidEarly(), "paid before the round was final");
    }

    /// @notice The invariants are not vacuous: random play reaches every kind of move, many times.
    function test_randomPlay_reachesTheDeepStates() public {
        for (uint256 i = 0; i < 3_000; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            uint256 kind = seed % 10;
            if (kind < 7) handler.act(seed);
            else if (kind == 7) handler.wait(seed);
            else if (kind == 8) handler.roster(seed);
            else handler.money(seed);
            if (i % 16 != 0) continue;
            handler.assertAllBooks();
            handler.assertBonds();
        }
        for (uint256 m = 0; m <= uint256(type(Handler.Move).max); ++m) {
            uint256 done = handler.done(Handler.Move(m));
            if (done < 5) revert TooRare(Handler.Move(m), done);
        }
    }
}
