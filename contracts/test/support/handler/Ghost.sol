// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase, RoundView, Stage} from "../../../src/types/Types.sol";
import {Bill} from "./Bill.sol";

/// @notice Books of its own, kept from what was done and never from what the vault says; and what must hold.
abstract contract Ghost is Bill {
    error WrongBill(uint256 paid, uint256 due, RoundView last, Deal deal, Note[] round);
    error LostTooMuch(address provider, uint256 lost, uint256 exposed);
    error HonestLost(address provider, uint256 lost);
    error PaidForNothing(address provider, uint256 gained);

    mapping(address owner => uint256) internal wealthBook; // of providers and requesters
    mapping(JobId job => uint256) internal escrowBook;
    mapping(uint32 slot => address) internal verifierSlotOwner; // until its bond came back
    uint32 internal verifierSlots; // numbers given out
    uint256 internal inside; // tokens that came in and did not go out
    bool internal abandoned; // nobody answers any more, the honest ones neither
    mapping(JobId job => RoundView) private _last;

    uint256 public settledRounds;
    uint256 public voidRounds;
    uint256 public slashings;
    uint256 public updates;

    // --- after every call ---

    /// @notice Compares the current job with its books; settles the books where the market settled a round.
    function _observe() internal {
        _compare(market.roundOf(job));
    }

    /// @param r the open round as it stands now
    function _compare(RoundView memory r) internal {
        RoundView memory last = _last[job];
        bool ended = r.phase == Phase.Ended && last.phase != Phase.Ended;
        if (r.number != last.number) _settled(last, ended);
        if (ended) _refunded();
        // INVARIANT 5: nothing leaves a ledger before its round is final.
        assertEq(vault.escrowOf(job), escrowBook[job], "ledger of the job");
        if (r.phase != last.phase || r.number != last.number) _last[job] = r;
    }

    function _begin() internal {
        _last[job] = market.roundOf(job);
    }

    /// @dev INVARIANTS 2, 4, 7: the job paid what section 8 says, and nobody lost more than what it had sealed for.
    function _settled(RoundView memory last, bool ended) private {
        (uint256 cost, bool truthWon) = _bill(job, last);
        address requester_ = deals[job].requester;
        uint256 left = ended ? vault.creditOf(requester_) - wealthBook[requester_] : vault.escrowOf(job);
        if (escrowBook[job] != left + cost) {
            revert WrongBill(escrowBook[job] - left, cost, last, deals[job], notes[job]);
        }
        escrowBook[job] = left;
        for (uint256 i = 0; i < people.length; ++i) {
            address provider = people[i];
            (uint256 had, uint256 has) = (wealthBook[provider], wealth(provider));
            if (has < had) _lost(provider, had - has, truthWon);
            if (has > had && !_tookPart(provider)) revert PaidForNothing(provider, has - had);
            wealthBook[provider] = has;
        }
        ++settledRounds;
        if (last.phase == Phase.Recheck) ++voidRounds;
        updates += market.jobOf(job).updates == last.number + 1 ? 1 : 0;
        _forget(job);
    }

    function _lost(address provider, uint256 lost, bool truthWon) private {
        uint256 exposed = _exposure(job, provider);
        if (lost > exposed) revert LostTooMuch(provider, lost, exposed);
        bool keptTheRules = _is(provider, Character.Honest) && !abandoned;
        if (truthWon && keptTheRules) revert HonestLost(provider, lost);
        ++slashings;
    }

    function _tookPart(address provider) private view returns (bool) {
        if (_exposure(job, provider) != 0) return true;
        for (uint256 s = 0; s < gathered[job].length; ++s) {
            if (gathered[job][s] == provider) return true;
        }
        return false;
    }

    function _refunded() private {
        wealthBook[deals[job].requester] += escrowBook[job];
        escrowBook[job] = 0;
    }

    // --- whenever forge asks ---

    /// @notice INVARIANTS 1 and 2: the vault's ledgers are the books, owner by owner and job by job.
    function assertBooksAgree() external view {
        (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 gone) = vault.totals();
        assertEq(token.balanceOf(address(vault)), inside, "what came in is what is there");
        assertEq(
            inside, free + locked + escrows + credits + gone, "balance = free + locked + escrows + credits + burnt"
        );
        (uint256 owned, uint256 bound, uint256 inJobs) = (0, 0, 0);
        for (uint256 i = 0; i < people.length; ++i) {
            assertEq(wealth(people[i]), wealthBook[people[i]], "wealth of a provider");
            owned += wealth(people[i]);
            bound += vault.lockedOf(people[i]);
        }
        for (uint256 i = 0; i < JOBS; ++i) {
            assertEq(vault.creditOf(_requester(i)), wealthBook[_requester(i)], "credit of a requester");
            owned += vault.creditOf(_requester(i));
            assertEq(vault.escrowOf(playing[i]), escrowBook[playing[i]], "ledger of a job");
            inJobs += escrowBook[playing[i]];
        }
        assertEq(owned, free + locked + credits, "sum over the owners");
        assertEq(bound, locked, "sum of the bonds");
        assertEq(inJobs, escrows, "sum over the jobs");
    }

    /// @notice INVARIANT 2: a job's ledger covers the worst case of the rounds that are still to be settled.
    function assertRoundsAreCovered() external view {
        for (uint256 i = 0; i < JOBS; ++i) {
            RoundView memory r = market.roundOf(playing[i]);
            if (r.phase == Phase.Ended) continue;
            Deal storage d = deals[playing[i]];
            uint256 round = d.tasks * d.reward + d.checks * d.fee + (d.gatherers + 3) * d.updateFee;
            assertTrue(vault.escrowOf(playing[i]) >= (d.rounds - r.number) * round, "a round is not covered");
        }
    }

    /// @notice INVARIANT 7: every seal, slot and post has a bond of its own, and nothing else is locked.
    function assertBondsBackOneSealEach() external view {
        uint256[] memory wanted = new uint256[](people.length);
        for (uint32 slot = 1; slot <= verifierSlots; ++slot) {
            if (verifierSlotOwner[slot] != address(0)) wanted[_indexOf(verifierSlotOwner[slot])] += SLOT_BOND;
        }
        for (uint256 i = 0; i < JOBS; ++i) {
            _addBonds(playing[i], wanted);
        }
        for (uint256 i = 0; i < people.length; ++i) {
            (, uint256 byOperator) = vault.operatorOf(people[i], operatorOf(people[i]));
            assertEq(vault.lockedOf(people[i]), wanted[i], "locked of a provider");
            assertEq(byOperator, wanted[i], "locked of its operator");
        }
    }

    function _addBonds(JobId id, uint256[] memory wanted) private view {
        Deal storage d = deals[id];
        (, address[] memory slots) = market.workerRoster(id);
        for (uint256 i = 0; i < slots.length; ++i) {
            wanted[_indexOf(slots[i])] += d.bond;
        }
        for (uint256 i = 0; i < leftWhileBacking[id].length; ++i) {
            wanted[_indexOf(leftWhileBacking[id][i])] += d.bond;
        }
        address post = market.jobOf(id).coordinatorProvider;
        if (post != address(0)) wanted[_indexOf(post)] += d.coordinatorBond;
        Note[] storage all = notes[id];
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].ofSlot) continue;
            bool ofPost = all[i].stage == Stage.Update && all[i].seat == 0;
            uint256 bond = all[i].stage == Stage.Update ? d.coordinatorBond : d.bond;
            if (!ofPost) wanted[_indexOf(all[i].provider)] += bond;
        }
    }

    function _indexOf(address provider) private view returns (uint256 i) {
        while (people[i] != provider) ++i;
    }
}
