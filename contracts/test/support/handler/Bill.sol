// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase, RoundView, Stage} from "../../../src/types/Types.sol";
import {Diary} from "./Diary.sol";

/// @notice What a round must cost its job, worked out from the diary by the words of docs/protocol.md, section 8:
/// pay follows the task, panels live on slashed bonds, and so the escrow pays w, f and u and nothing else.
abstract contract Bill is Diary {
    uint256 private constant NOTHING = 0;
    uint256 private constant UNOPENED = 1;
    uint256 private constant TRUTH = 2; // the first of the opened variants

    /// @dev The round as a table of answers: nothing, unopened, or 2 + variant.
    struct Answers {
        uint256[] work;
        uint256[] check;
        uint256[] challenge; // the last one is of the update
        uint256[VARIANTS][] votes;
        uint256 proposal;
        uint256[] updateChecks;
    }

    /// @param last the round as it stood before the call that settled it
    /// @return cost what the job's ledger is down by, the slashed bonds in and out again
    /// @return truthWon whether every panel found the truth
    function _bill(JobId id, RoundView memory last) internal view returns (uint256 cost, bool truthWon) {
        Answers memory a = _answers(id);
        truthWon = true;
        uint256 tasks = deals[id].tasks;
        for (uint256 q = 0; q < tasks; ++q) {
            (uint256 costs, bool won) = _ofTask(id, a, q, last.phase == Phase.Recheck);
            cost += costs;
            truthWon = truthWon && won;
        }
        // The phases in which a round can end whose update was opened; a panel that nobody sealed for opens nothing.
        bool checked = last.phase == Phase.UpdateChallenge || last.phase == Phase.UpdateVerdictSeal
            || last.phase == Phase.UpdateVerdictOpen;
        if (!checked) return (cost + deals[id].updateFee * _posted(id), truthWon);
        (uint256 updateCosts, bool updateWon) = _ofUpdate(id, a);
        return (cost + updateCosts, truthWon && updateWon);
    }

    function _ofTask(JobId id, Answers memory a, uint256 q, bool isVoid)
        private
        view
        returns (uint256 cost, bool truthWon)
    {
        (uint256 work, uint256 check, uint256 challenge) = (a.work[q], a.check[q], a.challenge[q]);
        (uint256 w, uint256 f) = (deals[id].reward, deals[id].fee);
        if (work == NOTHING) return (0, true);
        if (isVoid) return (check == NOTHING ? 0 : f, true);
        if (work == UNOPENED) return (check > UNOPENED ? f : 0, true);
        bool dissent = check != NOTHING && check != work;
        if (!dissent && challenge == NOTHING) return (w + (check == NOTHING ? 0 : f), true);
        uint256 lead = _lead(a.votes[q]);
        if (lead == NOTHING) {
            bool paid = challenge != NOTHING ? check != NOTHING : check > UNOPENED;
            return (w + (paid ? f : 0), false);
        }
        return ((work == lead ? w : 0) + (check == lead ? f : 0), lead == TRUTH);
    }

    function _ofUpdate(JobId id, Answers memory a) private view returns (uint256 cost, bool truthWon) {
        uint256 u = deals[id].updateFee;
        bool disputed = a.proposal == UNOPENED;
        for (uint256 s = 0; s < a.updateChecks.length; ++s) {
            if (a.updateChecks[s] != NOTHING && a.updateChecks[s] != a.proposal) disputed = true;
        }
        uint256 accepted = a.proposal;
        truthWon = true;
        if (disputed || a.challenge[deals[id].tasks] != NOTHING) {
            uint256 lead = _lead(a.votes[deals[id].tasks]);
            if (lead != NOTHING) accepted = lead;
            else if (disputed) accepted = NOTHING;
            truthWon = lead == TRUTH;
        }
        if (a.proposal > UNOPENED && a.proposal == accepted) cost += u;
        for (uint256 s = 0; s < a.updateChecks.length; ++s) {
            uint256 answer = a.updateChecks[s];
            bool loses = answer <= UNOPENED || (accepted != NOTHING && answer != accepted);
            if (!loses && (s < deals[id].gatherers || accepted != NOTHING)) cost += u;
        }
    }

    /// @notice What a provider may lose to a round at most: the bonds behind its own seals and claims.
    function _exposure(JobId id, address provider) internal view returns (uint256 amount) {
        Note[] storage all = notes[id];
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].provider != provider) continue;
            amount += all[i].stage == Stage.Update ? deals[id].coordinatorBond : deals[id].bond;
        }
    }

    // --- the table ---

    function _answers(JobId id) private view returns (Answers memory a) {
        uint256 tasks = deals[id].tasks;
        (a.work, a.check, a.challenge) = (new uint256[](tasks), new uint256[](tasks), new uint256[](tasks + 1));
        a.votes = new uint256[VARIANTS][](tasks + 1);
        a.updateChecks = new uint256[](deals[id].gatherers + 2);
        Note[] storage all = notes[id];
        for (uint256 i = 0; i < all.length; ++i) {
            Note memory note = all[i];
            if (note.claimed) continue;
            uint256 answer = note.opened ? TRUTH + note.variant : UNOPENED;
            if (note.stage == Stage.Work) a.work[note.question] = answer;
            else if (note.stage == Stage.Check) a.check[note.question] = answer;
            else if (note.stage == Stage.Update) a.proposal = answer;
            else if (note.stage == Stage.UpdateCheck) a.updateChecks[note.seat] = answer;
            else if (!_isPanel(note.stage)) a.challenge[note.question] = answer;
            else if (note.opened) ++a.votes[note.question][note.variant];
        }
    }

    /// @dev The answer with more votes than any other, or nothing.
    function _lead(uint256[VARIANTS] memory votes) private pure returns (uint256 lead) {
        uint256 most = 0;
        for (uint256 v = 0; v < VARIANTS; ++v) {
            if (votes[v] > most) (most, lead) = (votes[v], TRUTH + v);
            else if (votes[v] == most) lead = NOTHING;
        }
    }

    function _posted(JobId id) private view returns (uint256 n) {
        for (uint256 s = 0; s < gathered[id].length; ++s) {
            if (gathered[id][s] != address(0)) ++n;
        }
    }
}
