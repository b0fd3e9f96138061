// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase, RoundView, Stage, TaskSeal} from "../../../src/types/Types.sol";
import {vm} from "../Vm.sol";
import {Ghost} from "./Ghost.sol";

/// @notice How anything is sent, sealed and opened: one place that counts the successes and keeps the diary.
abstract contract Moves is Ghost {
    enum Move {
        Post,
        Accept,
        Stop,
        Join,
        Leave,
        Drop,
        Enrol,
        Retire,
        Release,
        Deposit,
        Withdraw,
        Collect,
        Authorise,
        Claim,
        SealWork,
        SealCheck,
        SealRecheck,
        Pass,
        Gather,
        Challenge,
        SealPanel,
        SealUpdate,
        SealSuccession,
        SealUpdateCheck,
        ChallengeUpdate,
        SealUpdatePanel,
        OpenWork,
        OpenCheck,
        OpenChallenge,
        OpenPanel,
        OpenUpdate,
        OpenUpdateCheck,
        OpenUpdateChallenge,
        OpenUpdatePanel,
        Advance,
        Theft // every attempt of it that was refused
    }

    /// @dev A message that succeeded, for the thief to send again.
    struct Message {
        JobId job;
        address from;
        bytes data;
    }

    mapping(Move => uint256) public done;
    bool internal acted; // in this call, with success
    Message[] internal overheard;
    uint256 private constant MEMORY = 32;

    function _try(Move move, address from, bytes memory data) internal returns (bool ok) {
        vm.prank(from);
        (ok,) = address(market).call(data);
        if (ok) ++done[move];
        acted = acted || ok;
    }

    /// @dev As `_try`, for what must not be possible twice.
    function _tryOnce(Move move, address from, bytes memory data) internal returns (bool ok) {
        ok = _try(move, from, data);
        if (!ok) return false;
        if (overheard.length < MEMORY) overheard.push(Message(job, from, data));
        else overheard[_pick(MEMORY)] = Message(job, from, data);
    }

    function _advance() internal returns (RoundView memory r) {
        (, r) = market.standing(job);
        ++done[Move.Advance];
        _compare(r);
    }

    // --- sealing ---

    /// @notice Answers as the provider is minded to. `extra` is the slot of a worker, the turn of a checker.
    function _answer(Stage stage, uint16 question, uint16 seat, address provider, uint32 extra) internal {
        if (_sleeps(stage, provider)) return;
        Note memory note = _mindOf(stage, question, seat, provider);
        note.slot = stage == Stage.Work ? extra : 0;
        bytes32 hash = _hashOf(note);
        if (!_tryOnce(_sealing(stage, seat), operatorOf(provider), _sealCall(note, extra, hash))) return;
        if (stage == Stage.Work) _servedBy(note);
        else _write(job, note);
        _observe();
    }

    /// @notice Answers the first `count` of some tasks of a slot in one call: all of them are sealed, or none.
    function _answerTogether(uint16[] memory tasks, uint256 count, address provider, uint32 slot) internal {
        if (_sleeps(Stage.Work, provider)) return;
        Note[] memory minds = new Note[](count);
        TaskSeal[] memory seals = new TaskSeal[](count);
        for (uint256 i = 0; i < count; ++i) {
            minds[i] = _mindOf(Stage.Work, tasks[i], 0, provider);
            minds[i].slot = slot;
            seals[i] = TaskSeal(tasks[i], _hashOf(minds[i]));
        }
        uint32 round = market.jobOf(job).round;
        bytes memory call_ = abi.encodeCall(market.sealTasks, (job, round, slot, seals));
        if (!_tryOnce(Move.SealWork, operatorOf(provider), call_)) return;
        for (uint256 i = 0; i < count; ++i) {
            _servedBy(minds[i]);
        }
        _observe();
    }

    /// @dev The absent ones miss every other round whole; and now and then an outage keeps everybody from one stage.
    function _sleeps(Stage stage, address provider) internal view returns (bool) {
        uint32 round = market.jobOf(job).round;
        if (_coin(round, bytes32(uint256(stage)), 20)) return true;
        return _is(provider, Character.Absent) && _coin(round, bytes32(uint256(uint160(provider))), 2);
    }

    /// @dev A worker's seal: backed by its slot once a round; a claimed task has its note already.
    function _servedBy(Note memory note) private {
        uint256 known = _find(job, Stage.Work, note.question, 0);
        if (known != NO_NOTE) {
            Note storage claim = notes[job][known];
            (claim.claimed, claim.variant, claim.silent) = (false, note.variant, note.silent);
            return;
        }
        note.ofSlot = _useSlot(note.slot);
        _write(job, note);
    }

    /// @dev Whether the slot's own bond was still unused in the open round; it is not any more.
    function _useSlot(uint32 slot) internal returns (bool fresh) {
        uint256 round = uint256(market.jobOf(job).round) + 1;
        fresh = slotUsedIn[job][slot] != round;
        slotUsedIn[job][slot] = round;
    }

    function _mindOf(Stage stage, uint16 question, uint16 seat, address provider) private returns (Note memory note) {
        (note.stage, note.question, note.seat, note.provider) = (stage, question, seat, provider);
        Character character = characterOf[provider];
        if (character == Character.Lazy) {
            note.silent = _pick(4) == 0;
        } else if (character == Character.Absent) {
            note.silent = _pick(2) == 0;
        } else if (character == Character.Malicious) {
            note.variant = uint8(_pick(4) == 0 ? 0 : _pick(VARIANTS));
            note.silent = _pick(5) == 0;
        }
    }

    /// @dev Whoever hides may as well have copied somebody's hash: it can never open that.
    function _hashOf(Note memory note) private returns (bytes32) {
        Note memory sealed_ = note;
        if (note.silent && notes[job].length != 0) sealed_ = notes[job][_pick(notes[job].length)];
        uint32 round = market.jobOf(job).round;
        return sealHash(sealed_.stage, round, sealed_.question, sealed_.provider, _variant(sealed_.variant));
    }

    function _sealCall(Note memory n, uint32 extra, bytes32 hash) private view returns (bytes memory) {
        uint32 round = market.jobOf(job).round;
        if (n.stage == Stage.Work) {
            return abi.encodeCall(market.sealTasks, (job, round, extra, oneSeal(n.question, hash)));
        }
        if (n.stage == Stage.Check) {
            return abi.encodeCall(market.sealCheck, (job, round, n.question, uint8(extra), hash));
        }
        if (_isPanel(n.stage)) return abi.encodeCall(market.sealPanel, (job, round, n.question, n.seat, hash));
        if (n.stage == Stage.UpdateCheck) {
            return abi.encodeCall(market.sealUpdateCheck, (job, round, n.seat, uint8(extra), hash));
        }
        if (n.stage != Stage.Update) {
            return abi.encodeCall(market.challenge, (job, round, n.question, n.provider, hash));
        }
        if (n.seat == 0) return abi.encodeCall(market.sealUpdate, (job, round, hash));
        return abi.encodeCall(market.sealSuccession, (job, round, uint8(n.seat - 1), hash));
    }

    function _sealing(Stage stage, uint16 seat) private view returns (Move) {
        if (stage == Stage.Work) return Move.SealWork;
        if (stage == Stage.Check) {
            return market.roundOf(job).phase == Phase.Recheck ? Move.SealRecheck : Move.SealCheck;
        }
        if (stage == Stage.Challenge) return Move.Challenge;
        if (stage == Stage.Panel) return Move.SealPanel;
        if (stage == Stage.Update) return seat == 0 ? Move.SealUpdate : Move.SealSuccession;
        if (stage == Stage.UpdateCheck) return Move.SealUpdateCheck;
        return stage == Stage.UpdateChallenge ? Move.ChallengeUpdate : Move.SealUpdatePanel;
    }

    // --- opening ---

    /// @notice Opens one of the seals that may be opened now, if its sealer wants it.
    function _openOne(RoundView memory r) internal {
        Note[] storage all = notes[job];
        if (all.length == 0) return;
        uint256 start = _pick(all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            uint256 n = (start + i) % all.length;
            if (!all[n].silent && _canOpen(all[n], r)) return _open(n, r.number);
        }
    }

    /// @notice Opens whatever the honest ones still have to open in this phase.
    function _openForTheHonest(RoundView memory r) internal {
        Note[] storage all = notes[job];
        // A round that is settled by an opening leaves an empty diary.
        for (uint256 n = 0; n < all.length; ++n) {
            if (_is(all[n].provider, Character.Honest) && _canOpen(all[n], r)) _open(n, r.number);
        }
    }

    function _canOpen(Note storage note, RoundView memory r) internal view returns (bool) {
        if (note.opened || note.claimed || _opensIn(note.stage) != r.phase) return false;
        if (note.stage != Stage.Work) return true;
        bool drawn = (r.drawn >> note.question) & 1 == 1;
        return !drawn || _find(job, Stage.Check, note.question, 0) != NO_NOTE;
    }

    function _open(uint256 n, uint32 round) private {
        Note storage note = notes[job][n];
        // Anybody may send an opening.
        Move move = Move(uint256(Move.OpenWork) + _orderOfOpening(note.stage));
        bool ok = _tryOnce(move, address(uint160(0xE000 + n)), _opening(note, round));
        // INVARIANT 4: an opening that is right and in time is never refused.
        assertTrue(ok, "an opening in time was refused");
        note.opened = true;
        _observe();
    }

    function _orderOfOpening(Stage stage) private pure returns (uint256) {
        return uint256(stage); // Move lists the openings in the order of Stage
    }
}
