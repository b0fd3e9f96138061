// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {IBeacon} from "../interfaces/IBeacon.sol";
import {Headers} from "./Headers.sol";

/// @title Chance from a block's prevrandao, proven by its header: for L1.
/// @notice Each proposer adds one signature to prevrandao, so it can publish or withhold, and nothing else. Anybody proves
/// a block once, for every market and round that waits for it; what is proven stays readable for ever.
contract PrevrandaoBeacon is IBeacon {
    /// @notice The header's bytes are not those of the block.
    error WrongHeader(uint64 target, bytes32 expected, bytes32 found);
    /// @notice The block's hash cannot be read: it lies ahead, or more than 8,191 blocks (256 without EIP-2935) behind.
    error NoBlockHash(uint64 target);
    /// @notice This chain has no prevrandao.
    error NoRandomness(uint64 target);

    event Proven(uint64 indexed target, bytes32 prevrandao);

    /// @notice A block's prevrandao commits to the block before it: one other proposer must stand between.
    /// @inheritdoc IBeacon
    uint32 public constant leastDelay = 2;

    /// @notice Prevrandao of a block; zero until it is proven.
    mapping(uint64 target => bytes32) public prevrandaoOf;

    /// @notice Proves a block's prevrandao by its RLP-encoded header.
    function prove(uint64 target, bytes calldata header) external {
        bytes32 expected = Blockhash.blockHash(target);
        if (expected == 0) revert NoBlockHash(target);
        bytes32 found = keccak256(header);
        // INVARIANT: nobody but the chain says what is in a block.
        if (found != expected) revert WrongHeader(target, expected, found);
        // The hash vouches for every byte; what is left to check is that the bytes mean what we take them for.
        bytes32 prevrandao = Headers.prevrandao(header, target);
        if (prevrandao == 0) revert NoRandomness(target);
        prevrandaoOf[target] = prevrandao;
        emit Proven(target, prevrandao);
    }

    /// @inheritdoc IBeacon
    function read(uint64 target) external view returns (bool ready, bytes32 source) {
        // INVARIANT: nobody knows a beacon in the transaction that closes what it decides about.
        if (block.number <= target) return (false, 0);
        source = prevrandaoOf[target];
        // A block that is not proven, and no longer can be, is lost.
        ready = source != 0 || Blockhash.blockHash(target) == 0;
    }
}
