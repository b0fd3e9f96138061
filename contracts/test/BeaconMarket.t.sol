// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobMarket} from "../src/JobMarket.sol";
import {PrevrandaoBeacon} from "../src/beacons/PrevrandaoBeacon.sol";
import {IBeacon} from "../src/interfaces/IBeacon.sol";
import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Config, Phase, RoundView} from "../src/types/Types.sol";
import {RoundTest} from "./Round.t.sol";
import {HeaderBytes} from "./support/HeaderBytes.sol";
import {History} from "./support/History.sol";
import {vm} from "./support/Vm.sol";

/// @notice Whole rounds, and the waiting for chance, on a market whose beacon is prevrandao.
contract BeaconMarketTest is RoundTest {
    function newBeacon() internal override returns (IBeacon) {
        return new PrevrandaoBeacon();
    }

    function prove(uint64 target) internal override {
        bytes memory header = HeaderBytes.make(target, randaoOf(target));
        vm.setBlockhash(target, keccak256(header));
        PrevrandaoBeacon(address(beacon)).prove(target, header);
    }

    function randaoOf(uint64 target) private pure returns (bytes32) {
        return keccak256(abi.encode("prevrandao", target));
    }

    function test_round_waitsForTheProof() public {
        uint64 target = _toDraw();
        for (uint64 after_ = 0; after_ < 200; after_ += 50) {
            vm.roll(target + 1 + after_);
            market.advance(job);
            assertPhase(Phase.Draw);
            assertEq(market.roundOf(job).beaconBlock, target, "the same block");
        }
        prove(target);
        market.advance(job);
        assertPhase(Phase.Check);
        bytes32 value = keccak256(abi.encode(randaoOf(target), job, uint32(0), uint8(Phase.Draw)));
        assertEq(market.roundOf(job).draw, value, "of this job, round and use");
    }

    function test_proofInTime_servesForEver() public {
        uint64 target = _toDraw();
        vm.roll(target + 1);
        prove(target);
        vm.roll(uint256(target) + 100_000);
        market.advance(job);
        assertPhase(Phase.Check);
    }

    function test_unprovenBlock_isArmedAgain_withoutHistory() public {
        uint64 target = _toDraw();
        History.remove();
        vm.roll(target + 256);
        market.advance(job);
        assertEq(market.roundOf(job).beaconBlock, target, "can still be proven");
        vm.roll(target + 257);
        _assertArmsAgain();
    }

    function test_unprovenBlock_isArmedAgain_withHistory() public {
        uint64 target = _toDraw();
        History.install();
        History.remember(target, keccak256("some hash"));
        vm.roll(target + 8_191);
        market.advance(job);
        assertEq(market.roundOf(job).beaconBlock, target, "can still be proven");
        vm.roll(target + 8_192);
        _assertArmsAgain();
    }

    function test_oneProof_servesEveryRoundThatWaitsForTheBlock() public {
        uint64 target = _toDraw();
        vm.roll(target + 1);
        prove(target);
        uint256 first = uint256(market.roundOf(job).draw);
        market.advance(job);
        assertTrue(uint256(market.roundOf(job).draw) != first, "drawn");
        (bool ready, bytes32 source) = beacon.read(target);
        assertTrue(ready && source == randaoOf(target), "kept for other markets");
    }

    // --- deployment ---

    function test_market_refusesABeaconWithoutCode() public {
        Config memory c = deploymentConfig();
        c.beacon = IBeacon(address(0xBEEF));
        _assertBadConfig(c, "beacon", 0xBEEF);
    }

    function test_market_refusesADelayThatItsBeaconCannotBear() public {
        Config memory c = deploymentConfig();
        c.beaconDelay = 1;
        _assertBadConfig(c, "beaconDelay", 1);
        assertEq(address(market.config().beacon), address(beacon), "the beacon is for all to see");
    }

    // --- inside ---

    function _toDraw() private returns (uint64 target) {
        openRound();
        sealAll(NOBODY, TRUE);
        assertPhase(Phase.Draw);
        return market.roundOf(job).beaconBlock;
    }

    function _assertArmsAgain() private {
        market.advance(job);
        assertPhase(Phase.Draw);
        RoundView memory r = market.roundOf(job);
        assertEq(r.beaconBlock, block.number + 2, "armed again");
        assertEq(r.draw, bytes32(0), "nothing is drawn from nothing");
        pass();
        assertPhase(Phase.Check);
    }

    function _assertBadConfig(Config memory c, bytes32 name, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BadConfig.selector, name, value));
        new JobMarket(address(token), c);
    }
}
