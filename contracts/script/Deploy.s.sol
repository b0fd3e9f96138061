// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobMarket} from "../src/JobMarket.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {DevToken} from "../src/dev/DevToken.sol";
import {Config} from "../src/types/Types.sol";

interface ScriptVm {
    function startBroadcast() external;
    function stopBroadcast() external;
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
    function getNonce(address account) external view returns (uint64);
    function envOr(string calldata name, address value) external view returns (address);
    function envOr(string calldata name, uint256 value) external view returns (uint256);
}

/// @title Deploys one market: the vault first, naming the address that the market is about to get.
/// @notice forge script script/Deploy.s.sol --rpc-url URL --private-key KEY --broadcast
/// Without GRADPROOF_TOKEN a DevToken is deployed, whose supply goes to the deployer.
contract Deploy {
    ScriptVm private constant vm = ScriptVm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function run() external returns (address token, address vault, address market) {
        vm.startBroadcast();
        token = vm.envOr("GRADPROOF_TOKEN", address(0));
        if (token == address(0)) token = address(new DevToken(msg.sender, 1e27));
        address predicted = vm.computeCreateAddress(msg.sender, vm.getNonce(msg.sender) + 1);
        StakeVault stakeVault = new StakeVault(token, predicted);
        JobMarket jobMarket = new JobMarket(stakeVault, _config());
        vm.stopBroadcast();
        return (token, address(stakeVault), address(jobMarket));
    }

    function _config() private view returns (Config memory) {
        return Config({
            epochBlocks: uint32(vm.envOr("GRADPROOF_EPOCH_BLOCKS", uint256(7_200))),
            beaconDelay: uint32(vm.envOr("GRADPROOF_BEACON_DELAY", uint256(4))),
            minWindow: uint32(vm.envOr("GRADPROOF_MIN_WINDOW", uint256(50))),
            maxWindow: uint32(vm.envOr("GRADPROOF_MAX_WINDOW", uint256(50_400))),
            maxRounds: uint32(vm.envOr("GRADPROOF_MAX_ROUNDS", uint256(100_000))),
            maxPanel: uint8(vm.envOr("GRADPROOF_MAX_PANEL", uint256(13))),
            slotBond: uint96(vm.envOr("GRADPROOF_SLOT_BOND", uint256(1e18))),
            maxBond: uint96(vm.envOr("GRADPROOF_MAX_BOND", uint256(1e24)))
        });
    }
}
