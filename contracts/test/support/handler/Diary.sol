// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Outcome, Phase, Stage} from "../../../src/types/Types.sol";
import {Cast} from "./Cast.sol";

/// @notice What was sealed in the open round of each job, as its sealers remember it: never read back from the market.
abstract contract Diary is Cast {
    struct Note {
        Stage stage;
        uint16 question;
        uint16 seat;
        address provider;
        uint8 variant;
        uint32 slot; // of a worker
        bool ofSlot; // the slot's own bond stands behind it
        bool claimed; // and not sealed yet
        bool opened;
        bool silent; // never to be opened: its sealer forgot, hides, or copied the hash
    }

    uint256 internal constant VARIANTS = 4; // the truth, two lies, NONFINITE
    uint256 internal constant NO_NOTE = type(uint256).max;

    mapping(JobId job => Note[]) internal notes;
    mapping(JobId job => mapping(uint256 seatKey => uint256)) private _numbers; // 1 + index in `notes`
    mapping(JobId job => address[]) internal gathered; // provider by seat; zero where it did not post
    mapping(JobId job => mapping(uint32 slot => address)) internal slotOwner; // as long as it is in the roster
    mapping(JobId job => mapping(uint32 slot => uint256)) internal slotUsedIn; // 1 + round whose seal its bond backs
    mapping(JobId job => address[]) internal leftWhileBacking; // providers whose slot left with its bond bound

    function _write(JobId id, Note memory note) internal {
        notes[id].push(note);
        _numbers[id][_seatKey(note.stage, note.question, note.seat)] = notes[id].length;
    }

    function _find(JobId id, Stage stage, uint16 question, uint16 seat) internal view returns (uint256) {
        uint256 number = _numbers[id][_seatKey(stage, question, seat)];
        return number == 0 ? NO_NOTE : number - 1;
    }

    /// @notice Forgets a round that was settled.
    function _forget(JobId id) internal {
        Note[] storage all = notes[id];
        for (uint256 i = 0; i < all.length; ++i) {
            delete _numbers[id][_seatKey(all[i].stage, all[i].question, all[i].seat)];
        }
        delete notes[id];
        delete gathered[id];
        delete leftWhileBacking[id];
    }

    /// @notice The phase in which a stage's seals are opened.
    function _opensIn(Stage stage) internal pure returns (Phase) {
        if (stage == Stage.Work || stage == Stage.Check) return Phase.Reveal;
        if (stage == Stage.Challenge || stage == Stage.Panel) return Phase.VerdictOpen;
        if (stage == Stage.Update || stage == Stage.UpdateCheck) return Phase.UpdateOpen;
        return Phase.UpdateVerdictOpen;
    }

    /// @notice What an answer of the play is in the words of `Deployed`.
    function _variant(uint8 variant) internal pure returns (uint256) {
        return variant == VARIANTS - 1 ? DIVERGED : variant;
    }

    function _isPanel(Stage stage) internal pure returns (bool) {
        return stage == Stage.Panel || stage == Stage.UpdatePanel;
    }

    /// @notice The call that opens a seal of this play, for the current job.
    function _opening(Note memory note, uint32 round) internal view returns (bytes memory) {
        Outcome memory o = outcomeOf(round, note.question, _variant(note.variant));
        bytes32 salt = saltOf(note.provider);
        if (!_isPanel(note.stage)) {
            return abi.encodeCall(market.open, (job, round, oneOpening(note.stage, note.question, note.seat, o, salt)));
        }
        bytes32 witness = witnessOf(note.question, _variant(note.variant));
        return abi.encodeCall(market.openPanel, (job, round, note.question, note.seat, o.root, o.cid, witness, salt));
    }

    function _seatKey(Stage stage, uint16 question, uint16 seat) private pure returns (uint256) {
        return (uint256(stage) << 32) | (uint256(question) << 16) | seat;
    }
}
