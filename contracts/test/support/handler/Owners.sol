// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, RoundView, Terms} from "../../../src/types/Types.sol";
import {vm} from "../Vm.sol";
import {Moves} from "./Moves.sol";

/// @notice Cold keys: requesters post and stop, providers move their money and name operators, slots come and go.
abstract contract Owners is Moves {
    // --- money ---

    /// @notice Somebody moves its own money.
    function money(uint256 seed) external seeded(seed) {
        uint256 kind = _pick(5);
        if (kind == 4) return _collect(_requester(_pick(JOBS)));
        address owner = _someone(people);
        if (kind == 0) _collect(owner);
        else if (kind == 1) _withdraw(owner);
        else if (kind == 2) _deposit(owner);
        else if (!_is(owner, Character.Honest)) _authorise(owner);
    }

    function _collect(address owner) internal {
        uint256 credit = vault.creditOf(owner);
        if (!_tryVault(Move.Collect, owner, abi.encodeCall(vault.collect, (owner)))) return;
        wealthBook[owner] -= credit;
        inside -= credit;
    }

    function _withdraw(address owner) private {
        uint256 amount = 1 + _pick(1_000);
        if (!_tryVault(Move.Withdraw, owner, abi.encodeCall(vault.withdraw, (amount, owner)))) return;
        wealthBook[owner] -= amount;
        inside -= amount;
    }

    function _deposit(address owner) private {
        uint256 amount = 1 + _pick(500);
        if (!_tryVault(Move.Deposit, owner, abi.encodeCall(vault.deposit, (amount)))) return;
        wealthBook[owner] += amount;
        inside += amount;
    }

    /// @dev A limit that is too small, or none: what it bound before comes back all the same.
    function _authorise(address owner) private {
        uint256 limit = _pick(3) == 0 ? _pick(2_000) : 1e9;
        _tryVault(Move.Authorise, owner, abi.encodeCall(vault.authorise, (operatorOf(owner), limit)));
    }

    function _tryVault(Move move, address owner, bytes memory data) private returns (bool ok) {
        vm.prank(owner);
        (ok,) = address(vault).call(data);
        if (ok) ++done[move];
    }

    // --- jobs ---

    /// @notice Puts a new job on a stage, after everybody left the one that ended there.
    function _restage(uint256 stage) internal {
        job = playing[stage];
        if (JobId.unwrap(job) != 0) _clear();
        address owner = _someone(coordinators);
        Terms memory t = _randomTerms(owner);
        uint256 escrow = market.requiredEscrow(t) + _pick(500);
        vm.prank(_requester(stage));
        job = market.post(t, escrow);
        ++done[Move.Post];
        playing[stage] = job;
        _remember(t, owner, _requester(stage));
        escrowBook[job] = escrow;
        inside += escrow;
        _begin();
    }

    function _remember(Terms memory t, address coordinator, address requester_) private {
        Deal storage d = deals[job];
        (d.requester, d.coordinator, d.rounds) = (requester_, coordinator, t.rounds);
        (d.tasks, d.checks, d.gatherers, d.panel) = (t.tasks, t.checks, t.gatherers, t.panel);
        (d.reward, d.fee, d.updateFee) = (t.reward, t.fee, t.updateFee);
        (d.bond, d.coordinatorBond, d.commitWindow) = (t.bond, t.coordinatorBond, t.windows.commit);
    }

    /// @notice INVARIANT 3: every slot can leave a job that has ended, by its owner's key alone.
    function _clear() internal {
        (uint32[] memory slots, address[] memory owners) = market.workerRoster(job);
        for (uint256 i = 0; i < slots.length; ++i) {
            vm.prank(owners[i]);
            market.leave(job, slots[i]);
        }
    }

    /// @notice Between rounds: whoever is missing comes.
    function _fill() internal {
        if (market.jobOf(job).coordinatorProvider == address(0)) {
            address owner = deals[job].coordinator;
            _try(Move.Accept, operatorOf(owner), abi.encodeCall(market.accept, (job, owner)));
            return _observe();
        }
        if (_pick(3) == 0) return _enrol();
        _join();
    }

    // --- rosters ---

    /// @notice Somebody joins, leaves, is dropped, enrols, retires or is released; rarely, a requester gives up.
    function roster(uint256 seed) external seeded(seed) {
        job = playing[_pick(JOBS)];
        uint256 kind = _pick(16);
        if (kind < 5) _join();
        else if (kind < 7) _leave();
        else if (kind < 10) _drop();
        else if (kind < 12) _enrol();
        else if (kind < 13) _retire();
        else if (kind < 15) _release();
        else if (_pick(2) == 0) _stop();
    }

    function _join() private {
        address owner = _someone(workers);
        _try(Move.Join, operatorOf(owner), abi.encodeCall(market.join, (job, owner, uint16(1 + _pick(2)))));
        _observe();
    }

    function _leave() private {
        (uint32[] memory slots, address[] memory owners) = market.workerRoster(job);
        if (slots.length == 0) return;
        uint256 i = _pick(slots.length);
        address from = _pick(2) == 0 ? owners[i] : operatorOf(owners[i]);
        if (_try(Move.Leave, from, abi.encodeCall(market.leave, (job, slots[i])))) _gone(slots[i], owners[i]);
        _observe();
    }

    function _drop() private {
        (uint32[] memory slots, address[] memory owners) = market.workerRoster(job);
        for (uint256 i = 0; i < slots.length; ++i) {
            bytes memory call_ = abi.encodeCall(market.drop, (job, slots[i], uint16(_pick(deals[job].tasks))));
            if (!_try(Move.Drop, address(0xD09), call_)) continue;
            _gone(slots[i], owners[i]);
            break;
        }
        _observe();
    }

    /// @dev A bond that backs a seal of the open round stays until that is settled.
    function _gone(uint32 slot, address owner) private {
        if (slotUsedIn[job][slot] == uint256(market.jobOf(job).round) + 1) leftWhileBacking[job].push(owner);
    }

    function _enrol() internal {
        address owner = _someone(verifiers);
        if (!_try(Move.Enrol, operatorOf(owner), abi.encodeCall(market.enrol, (owner, 1)))) return;
        verifierSlotOwner[++verifierSlots] = owner;
    }

    function _retire() private {
        uint32 slot = uint32(1 + _pick(verifierSlots));
        address owner = verifierSlotOwner[slot];
        _try(Move.Retire, owner, abi.encodeCall(market.retire, (slot)));
    }

    function _release() private {
        for (uint256 i = 0; i < 6; ++i) {
            uint32 slot = uint32(1 + _pick(verifierSlots));
            if (!_try(Move.Release, address(0xD09), abi.encodeCall(market.release, (slot)))) continue;
            delete verifierSlotOwner[slot];
            return;
        }
    }

    function _stop() private {
        _try(Move.Stop, deals[job].requester, abi.encodeCall(market.stop, (job)));
        _observe();
    }
}
