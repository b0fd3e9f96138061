// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Sealing, SealRef} from "../../src/libraries/Sealing.sol";
import {JobId, Outcome, Stage} from "../../src/types/Types.sol";
import {Assuming} from "./DrawsProofs.t.sol";

/// @notice What is sealed says one thing only: two seals, outcomes or seats are the same only if all their parts are.
/// @dev Assumed of keccak256: no collisions. Proven: that nothing is left out of what is hashed, and nothing runs together.
contract SealingProofs {
    Assuming private constant vm = Assuming(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct Sealed {
        uint256 job;
        uint32 round;
        uint16 question;
        uint8 stage;
        address provider;
        bytes32 root;
        bytes32 cid;
        bytes32 secret;
        bytes32 salt;
    }

    function check_seals(Sealed memory a, Sealed memory b) public {
        vm.assume(a.stage < 8 && b.stage < 8);
        vm.assume(_hash(a) == _hash(b));
        assert(a.job == b.job && a.round == b.round && a.question == b.question && a.stage == b.stage);
        assert(a.provider == b.provider && a.root == b.root && a.cid == b.cid);
        assert(a.secret == b.secret && a.salt == b.salt);
    }

    function _hash(Sealed memory x) private view returns (bytes32) {
        SealRef memory ref = SealRef(JobId.wrap(x.job), x.round, x.question, Stage(x.stage));
        return Sealing.sealHash(ref, x.provider, x.root, x.cid, x.secret, x.salt);
    }

    function check_witnesses(Sealed memory a, Sealed memory b) public {
        SealRef memory x = SealRef(JobId.wrap(a.job), a.round, a.question, Stage.Work);
        SealRef memory y = SealRef(JobId.wrap(b.job), b.round, b.question, Stage.Panel);
        vm.assume(Sealing.witnessHash(x, a.secret) == Sealing.witnessHash(y, b.secret));
        // The stage is not in it: worker, checker and panel show the same h of the same witness.
        assert(a.job == b.job && a.round == b.round && a.question == b.question && a.secret == b.secret);
    }

    function check_outcomes(Outcome memory a, Outcome memory b) public {
        vm.assume(Sealing.outcomeHash(a) == Sealing.outcomeHash(b));
        assert(a.root == b.root && a.cid == b.cid && a.h == b.h);
    }

    function check_seats(uint8 stageA, uint16 questionA, uint16 seatA, uint8 stageB, uint16 questionB, uint16 seatB)
        public
    {
        vm.assume(stageA < 8 && stageB < 8);
        vm.assume(Sealing.key(Stage(stageA), questionA, seatA) == Sealing.key(Stage(stageB), questionB, seatB));
        assert(stageA == stageB && questionA == questionB && seatA == seatB);
    }
}
