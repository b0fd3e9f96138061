// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RLP} from "@openzeppelin/contracts/utils/RLP.sol";

/// @notice Block headers of a chain that has none: the fields of Ethereum since Prague, encoded by OpenZeppelin.
library HeaderBytes {
    using RLP for RLP.Encoder;

    /// @notice The header of block `number` that commits to `prevrandao`.
    function make(uint256 number, bytes32 prevrandao) internal pure returns (bytes memory) {
        return make(number, 0, abi.encode(prevrandao), "");
    }

    /// @notice The same with chosen difficulty, bytes of prevrandao, and extra data.
    function make(uint256 number, uint256 difficulty, bytes memory prevrandao, bytes memory extra)
        internal
        pure
        returns (bytes memory)
    {
        bytes32 root = keccak256(abi.encode("root", number));
        RLP.Encoder memory e = RLP.encoder();
        e.push(root).push(root).push(address(uint160(number))).push(root).push(root).push(root);
        e.push(abi.encode(root, root, root, root, root, root, root, root));
        e.push(difficulty).push(number).push(uint256(30_000_000)).push(uint256(21_000)).push(uint256(1_800_000_000));
        e.push(extra).push(prevrandao).push(abi.encodePacked(bytes8(0)));
        e.push(uint256(7)).push(root).push(uint256(0)).push(uint256(0)).push(root).push(root);
        return e.encode();
    }
}
