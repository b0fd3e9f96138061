// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Permit} from "../../src/types/Types.sol";
import {vm} from "./Vm.sol";

/// @notice What an owner signs off chain, spelled out independently of the contracts that check it.
library Typed {
    struct Authorisation {
        address provider;
        address operator;
        uint256 limit;
        uint64 nonce;
        uint256 deadline;
    }

    function digest(address vault, Authorisation memory a) internal view returns (bytes32) {
        bytes32 message = keccak256(
            abi.encode(
                keccak256(
                    "Authorisation(address provider,address operator,uint256 limit,uint256 nonce,uint256 deadline)"
                ),
                a.provider,
                a.operator,
                a.limit,
                a.nonce,
                a.deadline
            )
        );
        return MessageHashUtils.toTypedDataHash(_domain("gradproof StakeVault", vault), message);
    }

    function sign(uint256 key, bytes32 hash) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        return abi.encodePacked(r, s, v);
    }

    /// @notice A permit of `key`'s account over `amount` for `spender`, with the token's present nonce.
    function permit(address token, uint256 key, address spender, uint256 amount, uint256 deadline)
        internal
        view
        returns (Permit memory p)
    {
        address owner = vm.addr(key);
        bytes32 message = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                owner,
                spender,
                amount,
                IERC20Permit(token).nonces(owner),
                deadline
            )
        );
        p.deadline = deadline;
        (p.v, p.r, p.s) =
            vm.sign(key, MessageHashUtils.toTypedDataHash(IERC20Permit(token).DOMAIN_SEPARATOR(), message));
    }

    function _domain(string memory name, address verifier) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                verifier
            )
        );
    }
}
