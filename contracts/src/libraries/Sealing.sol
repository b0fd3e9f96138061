// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round} from "../types/State.sol";
import {JobId, Outcome, Seal, Stage} from "../types/Types.sol";

// Result root of a computation that left the finite numbers: sha256("gradproof/exact-1/NONFINITE").
bytes32 constant NONFINITE = 0x83d6fcbc6b5459e903871222f425017aee1c5fa3376960de5b117821f1fc48d3;

/// @notice What a seal is about; with sender, chain and market, what makes it worthless anywhere else.
struct SealRef {
    JobId job;
    uint32 round;
    uint16 question;
    Stage stage;
}

/// @title The sealed bytes.
library Sealing {
    /// @notice Hash of a seal. `secret` is h, and for a panel the witness itself.
    function sealHash(SealRef memory ref, address provider, bytes32 root, bytes32 cid, bytes32 secret, bytes32 salt)
        internal
        view
        returns (bytes32)
    {
        // INVARIANT: a seal says whose it is, for which question, stage, round, job, market and chain.
        return keccak256(
            abi.encode(
                block.chainid,
                address(this),
                ref.job,
                ref.round,
                ref.question,
                uint8(ref.stage),
                provider,
                root,
                cid,
                secret,
                salt
            )
        );
    }

    /// @notice h of a witness: what may be public before the witness is.
    function witnessHash(SealRef memory ref, bytes32 witness) internal pure returns (bytes32) {
        return keccak256(abi.encode(ref.job, ref.round, ref.question, witness));
    }

    /// @notice One word for a whole outcome.
    function outcomeHash(Outcome memory answer) internal pure returns (bytes32) {
        return keccak256(abi.encode(answer));
    }

    /// @notice The outcome that a seal was opened to, as `outcomeHash` of it; zero until then.
    function outcome(Seal storage s) internal view returns (bytes32) {
        return s.opened ? s.hash : bytes32(0);
    }

    /// @notice Whether an outcome is well formed: a root, and a CID exactly when it is finite.
    function isWellFormed(bytes32 root, bytes32 cid) internal pure returns (bool) {
        return root != 0 && (cid == 0) == (root == NONFINITE);
    }

    /// @notice The proposed update's seal: the coordinator's, or that of the gatherer that followed it.
    function proposal(Round storage r, uint16 question) internal view returns (Seal storage) {
        return r.seals[key(Stage.Update, question, r.proposer)];
    }

    /// @notice Where a round keeps the seal of a seat.
    function key(Stage stage, uint16 question, uint16 seat) internal pure returns (uint256) {
        return (uint256(stage) << 32) | (uint256(question) << 16) | seat;
    }
}
