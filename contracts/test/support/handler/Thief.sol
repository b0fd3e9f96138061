// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase, RoundView, Stage} from "../../../src/types/Types.sol";
import {vm} from "../Vm.sol";
import {Moves} from "./Moves.sol";

/// @notice INVARIANT 6: sends what it overheard again, elsewhere, as somebody else; takes what is not its own.
abstract contract Thief is Moves {
    error Stolen(uint256 kind, bytes data);

    /// @notice One attempt, which must be refused.
    function steal(uint256 seed) external seeded(seed) {
        uint256 kind = _pick(8);
        if (kind < 3) _replay(kind);
        else if (kind == 3) _openElsewhere();
        else if (kind == 4) _actForOthers();
        else if (kind < 7) _sitInTheirSeats();
        else _reachIntoTheVault();
    }

    /// @dev The same words by the same key, by a stranger's, by another provider's.
    function _replay(uint256 kind) private {
        if (overheard.length == 0) return;
        Message memory m = overheard[_pick(overheard.length)];
        address from = kind == 0 ? m.from : kind == 1 ? address(0xBAD) : operatorOf(_someone(people));
        _refused(kind, from, address(market), m.data);
    }

    /// @dev A right opening in time, but on another chain, for another stage, question, seat, round or job.
    function _openElsewhere() private {
        job = playing[_pick(JOBS)];
        RoundView memory r = market.roundOf(job);
        for (uint256 n = 0; n < notes[job].length; ++n) {
            if (!_canOpen(notes[job][n], r)) continue;
            Note memory note = notes[job][n];
            bytes memory opening = _opening(note, r.number);
            uint256 where = _pick(6);
            uint256 chain = block.chainid;
            if (where == 0) vm.chainId(chain + 1);
            else if (where == 1) note.stage = _otherStage(note.stage);
            else if (where == 2) note.question = (note.question + 1) % (deals[job].tasks + 1);
            else if (where == 3) note.seat += 1;
            else if (where == 4) note.variant = uint8((note.variant + 1) % VARIANTS);
            // What the same provider sealed elsewhere opens there, and rightly.
            uint256 known = _find(job, note.stage, note.question, note.seat);
            bool itsOwn = known != NO_NOTE && notes[job][known].provider == note.provider;
            if (itsOwn && (where == 2 || where == 3)) return;
            if (where != 0 && where != 5) opening = _opening(note, r.number);
            if (where == 5) opening = _opening(note, r.number + 1);
            _refused(3, address(0xBAD), address(market), opening);
            vm.chainId(chain);
            return;
        }
    }

    /// @dev Of the two panels the question decides, so that an opening for the other one is the same words.
    function _otherStage(Stage stage) private returns (Stage other) {
        do {
            other = Stage((uint256(stage) + 1 + _pick(7)) % 8);
        } while (_isPanel(stage) && _isPanel(other));
    }

    /// @dev Joins, leaves, accepts and withdraws for somebody who never named this key.
    function _actForOthers() private {
        job = playing[_pick(JOBS)];
        address victim = _someone(people);
        (uint32[] memory slots,) = market.workerRoster(job);
        uint256 act = _pick(6);
        bytes memory data;
        if (act == 0) {
            data = abi.encodeCall(market.join, (job, victim, 1));
        } else if (act == 1) {
            data = abi.encodeCall(market.leave, (job, slots.length == 0 ? 0 : slots[_pick(slots.length)]));
        } else if (act == 2) {
            data = abi.encodeCall(market.accept, (job, victim));
        } else if (act == 3) {
            data = abi.encodeCall(market.enrol, (victim, 1));
        } else if (act == 4) {
            data = abi.encodeCall(market.retire, (uint32(1 + _pick(verifierSlots))));
        } else {
            data = abi.encodeCall(market.stop, (job));
        }
        _refused(4, address(0xBAD), address(market), data);
    }

    /// @dev Seals where somebody else is entitled to, before it does.
    function _sitInTheirSeats() private {
        job = playing[_pick(JOBS)];
        RoundView memory r = market.roundOf(job);
        (uint16 tasks, bytes32 hash) = (deals[job].tasks, keccak256("mine"));
        (uint16 task, uint16 seat) = (uint16(_pick(tasks)), uint16(_pick(3)));
        bytes memory data;
        if (r.phase == Phase.Commit) {
            (uint32 slot,) = market.slotOfTask(job, task);
            data = _pick(2) == 0
                ? abi.encodeCall(market.sealTasks, (job, r.number, slot, oneSeal(task, hash)))
                : abi.encodeCall(market.claim, (job, r.number, task, slot));
        } else if (r.phase == Phase.Check || r.phase == Phase.Recheck) {
            data = _pick(2) == 0
                ? abi.encodeCall(market.sealCheck, (job, r.number, task, 0, hash))
                : abi.encodeCall(market.pass, (job, r.number, Stage.Check, task, 0, 0));
        } else if (r.phase == Phase.Gather) {
            data = _pick(2) == 0
                ? abi.encodeCall(market.gather, (job, r.number, seat, 0))
                : abi.encodeCall(market.challenge, (job, r.number, task, _someone(verifiers), hash));
        } else if (r.phase == Phase.VerdictSeal) {
            data = abi.encodeCall(market.sealPanel, (job, r.number, task, seat, hash));
        } else if (r.phase == Phase.UpdateVerdictSeal) {
            data = abi.encodeCall(market.sealPanel, (job, r.number, tasks, seat, hash));
        } else if (r.phase == Phase.Succession) {
            data = abi.encodeCall(market.sealSuccession, (job, r.number, uint8(seat), hash));
        } else if (r.phase == Phase.UpdateCheck) {
            data = abi.encodeCall(market.sealUpdateCheck, (job, r.number, seat, 0, hash));
        } else {
            data = abi.encodeCall(market.sealUpdate, (job, r.number, hash));
        }
        _refused(6, address(0xBAD), address(market), data);
    }

    /// @dev Ledgers are the market's alone; more than one's own free bond is nobody's.
    function _reachIntoTheVault() private {
        address victim = _someone(people);
        address operator = operatorOf(victim);
        uint256 act = _pick(8);
        bytes memory data;
        if (act == 0) data = abi.encodeCall(vault.lock, (victim, operator, 1));
        else if (act == 1) data = abi.encodeCall(vault.unlock, (victim, operator, 1));
        else if (act == 2) data = abi.encodeCall(vault.slash, (job, victim, operator, 1));
        else if (act == 3) data = abi.encodeCall(vault.credit, (job, address(0xBAD), 1));
        else if (act == 4) data = abi.encodeCall(vault.burn, (job, 1));
        else if (act == 5) data = abi.encodeCall(vault.fund, (job, victim, 1));
        else if (act == 6) data = abi.encodeCall(vault.withdraw, (vault.freeOf(victim) + 1, victim));
        else data = abi.encodeCall(vault.collect, (operator));
        address from = act == 6 ? victim : act == 7 ? operator : address(0xBAD);
        _refused(5, from, address(vault), data);
    }

    function _refused(uint256 kind, address from, address to, bytes memory data) private {
        vm.prank(from);
        (bool ok,) = to.call(data);
        if (ok) revert Stolen(kind, data);
        ++done[Move.Theft];
    }
}
