// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PrevrandaoBeacon} from "../src/beacons/PrevrandaoBeacon.sol";
import {Commits} from "../src/libraries/Commits.sol";
import {Flow} from "../src/libraries/Flow.sol";
import {Objections} from "../src/libraries/Objections.sol";
import {Openings} from "../src/libraries/Openings.sol";
import {Postings} from "../src/libraries/Postings.sol";
import {RosterBook} from "../src/libraries/RosterBook.sol";
import {Seats} from "../src/libraries/Seats.sol";
import {Snapshots} from "../src/libraries/Snapshots.sol";
import {TaskSettlement} from "../src/libraries/TaskSettlement.sol";
import {UpdateSettlement} from "../src/libraries/UpdateSettlement.sol";
import {Deployed} from "./support/Deployed.sol";

/// @notice EIP-170: what is deployed must be deployable.
contract SizesTest is Deployed {
    uint256 private constant LIMIT = 24_576;

    function setUp() public {
        deploy(0, 0);
    }

    function test_code_staysBelowTheLimit() public {
        address[15] memory deployed = [
            address(vault),
            address(market),
            address(token),
            address(beacon),
            address(new PrevrandaoBeacon()),
            address(Commits),
            address(Flow),
            address(Objections),
            address(Openings),
            address(Postings),
            address(RosterBook),
            address(Seats),
            address(Snapshots),
            address(TaskSettlement),
            address(UpdateSettlement)
        ];
        for (uint256 i = 0; i < deployed.length; ++i) {
            uint256 size = deployed[i].code.length;
            assertTrue(size > 0 && size < LIMIT, "too large for a chain");
        }
    }
}
