// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Job, Round, Store, TURNS} from "../types/State.sol";
import {JobId, Phase, Stage} from "../types/Types.sol";
import {Bits} from "./Bits.sol";
import {Draws} from "./Draws.sol";
import {Sealing} from "./Sealing.sol";
import {VerifierRosters} from "./VerifierRosters.sol";
import {Works} from "./Works.sol";

/// @title Who sits where: drawn seats of one round, as views of its beacons and its roster.
/// @notice The candidates of seat s of S are the positions perm(seed, s + t*S, V), t < 16; the first eligible one holds it,
/// the next ones follow in turn.
/// A provider's slots never judge its own work, nor a matter it is a side of.
library Seats {
    using Bits for uint256;

    uint256 private constant TRIES = 16;

    /// @notice Eligible candidate number `turn` of a drawn seat of `stage`; zero where there is none.
    function holder(Store storage s, JobId id, Stage stage, uint16 question, uint16 seat, uint8 turn)
        external
        view
        returns (uint32, address)
    {
        Job storage job = s.jobs[id];
        return _holder(s, job, job.rounds[job.round], stage, question, seat, turn);
    }

    /// @notice Candidate number `turn` of a check's seat; reverts unless its turn has come and it did not pass.
    function candidate(Store storage s, JobId id, Stage stage, uint16 question, uint16 seat, uint8 turn)
        external
        view
        returns (address provider)
    {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        uint8 current = _turn(job, r, stage, question, seat);
        // INVARIANT: a candidate answers when its turn has come, and not after it passed.
        if (turn > current || (r.passed[_passKey(r, stage, question, seat)] >> turn) & 1 == 1) {
            revert IJobMarket.NotYourTurn(question, seat, turn, current);
        }
        (, provider) = _holder(s, job, r, stage, question, seat, turn);
    }

    /// @notice Hands a check's seat on.
    function pass(Store storage s, JobId id, Stage stage, uint16 question, uint16 seat, uint8 turn) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        r.passed[_passKey(r, stage, question, seat)] |= uint8(1) << turn;
    }

    /// @notice The turn that a check's seat has come to: every quarter of the window and every pass is a step on.
    function turnOf(Store storage s, JobId id, Stage stage, uint16 question, uint16 seat)
        external
        view
        returns (uint8)
    {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        bool checking = r.phase == Phase.Check || r.phase == Phase.Recheck;
        if (!(stage == Stage.Check && checking) && !(stage == Stage.UpdateCheck && r.phase == Phase.UpdateCheck)) {
            revert IJobMarket.NotInPhase(id, r.phase);
        }
        return _turn(job, r, stage, question, seat);
    }

    /// @dev Only inside the window of the checks that `stage` names.
    function _turn(Job storage job, Round storage r, Stage stage, uint16 question, uint16 seat)
        private
        view
        returns (uint8)
    {
        // A gatherer's own check of the update is nobody else's.
        if (stage == Stage.UpdateCheck && seat < job.terms.gatherers) return 0;
        uint256 window = stage == Stage.Check ? job.terms.windows.check : job.terms.windows.updateCheck;
        uint256 elapsed = block.number + window - r.deadline;
        uint256 steps = TURNS * elapsed / window + uint256(r.passed[_passKey(r, stage, question, seat)]).count();
        return uint8(Math.min(steps, TURNS - 1));
    }

    /// @dev Where a round keeps the passes of a seat; a second draw starts afresh.
    function _passKey(Round storage r, Stage stage, uint16 question, uint16 seat) private view returns (uint256) {
        return Sealing.key(stage, question, stage == Stage.Check && r.redraw != 0 ? 1 : seat);
    }

    /// @notice Seats of the panel on `question` that somebody is eligible for.
    function fillable(Store storage s, JobId id, uint16 question) external view returns (uint16 seats) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        Stage stage = question == job.terms.tasks ? Stage.UpdatePanel : Stage.Panel;
        for (uint16 seat = 0; seat < job.terms.panel; ++seat) {
            (, address provider) = _holder(s, job, r, stage, question, seat, 0);
            if (provider != address(0)) ++seats;
        }
    }

    /// @notice Update seats to wait for: gatherers that posted, save the proposer, and the drawn ones that exist.
    function expectedOfUpdate(Store storage s, JobId id) external view returns (uint16 seats) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        uint16 first = job.terms.gatherers;
        address proposer = Sealing.proposal(r, job.terms.tasks).provider;
        seats = r.gathered;
        for (uint16 seat = 0; seat < first; ++seat) {
            // INVARIANT: nobody checks what it proposed.
            if (r.gatherers[seat] == proposer) seats &= ~(uint16(1) << seat);
        }
        for (uint16 seat = first; seat < first + 2; ++seat) {
            (, address provider) = _holder(s, job, r, Stage.UpdateCheck, job.terms.tasks, seat, 0);
            if (provider != address(0)) seats |= uint16(1) << seat;
        }
    }

    function _holder(
        Store storage s,
        Job storage job,
        Round storage r,
        Stage stage,
        uint16 question,
        uint16 seat,
        uint256 after_
    ) private view returns (uint32 slot, address provider) {
        (bytes32 seed, uint256 start, uint256 seats) = _draw(job, r, stage, question, seat);
        if (start >= seats) return (0, address(0)); // no such seat
        uint256 verifiers = r.verifiers;
        for (uint256 x = start; x < verifiers && x < start + TRIES * seats; x += seats) {
            uint256 position = Draws.perm(seed, x, verifiers);
            (slot, provider) = VerifierRosters.at(s.verifiers, r.epoch, position);
            if (!_eligible(job, r, stage, question, seat, provider, position)) continue;
            if (after_ == 0) return (slot, provider);
            --after_;
        }
        return (0, address(0));
    }

    /// @dev Seed of the draw, first candidate of the seat, number of seats.
    function _draw(Job storage job, Round storage r, Stage stage, uint16 question, uint16 seat)
        private
        view
        returns (bytes32, uint256, uint256)
    {
        uint256 checks = job.terms.checks;
        uint256 gatherers = job.terms.gatherers;
        if (stage == Stage.Check) {
            uint256 drawnAs = Draws.perm(r.draw, question, job.terms.tasks);
            // What the first draw's verifiers left unanswered has been drawn once more.
            bytes32 draw = r.redraw == 0 ? r.draw : r.redraw;
            return (Draws.seedOf(draw, Stage.Check, 0), drawnAs, checks + gatherers);
        }
        if (stage == Stage.Panel) return (Draws.seedOf(r.panelDraw, stage, question), seat, job.terms.panel);
        if (stage == Stage.UpdatePanel) {
            return (Draws.seedOf(r.updatePanelDraw, stage, question), seat, job.terms.panel);
        }
        if (seat < gatherers) {
            return (Draws.seedOf(r.draw, Stage.Check, 0), checks + seat, checks + gatherers);
        }
        return (Draws.seedOf(r.updateDraw, Stage.UpdateCheck, question), seat - gatherers, 2);
    }

    function _eligible(
        Job storage job,
        Round storage r,
        Stage stage,
        uint16 question,
        uint16 seat,
        address provider,
        uint256 position
    ) private view returns (bool) {
        // INVARIANT: nobody judges its own work, and accuser and accused do not vote.
        if (stage == Stage.Check) return provider != Works.providerOf(job, r, question);
        if (stage == Stage.Panel) {
            return provider != Works.providerOf(job, r, question) && provider != _sealer(r, Stage.Check, question)
                && provider != _sealer(r, Stage.Challenge, question);
        }
        if (stage == Stage.UpdatePanel) {
            // Who checked may vote: barring the honest checkers would leave a small roster's panel to the others.
            return provider != Sealing.proposal(r, question).provider
                && provider != _sealer(r, Stage.UpdateChallenge, question);
        }
        if (seat < job.terms.gatherers) return true;
        return provider != Sealing.proposal(r, question).provider && !_gathers(job, r, position);
    }

    /// @dev Whether the slot at a position holds a gatherer seat.
    function _gathers(Job storage job, Round storage r, uint256 position) private view returns (bool) {
        bytes32 seed = Draws.seedOf(r.draw, Stage.Check, 0);
        uint256 checks = job.terms.checks;
        uint256 gatherers = job.terms.gatherers;
        for (uint256 g = 0; g < gatherers; ++g) {
            if (Draws.perm(seed, checks + g, r.verifiers) == position) return true;
        }
        return false;
    }

    function _sealer(Round storage r, Stage stage, uint16 question) private view returns (address) {
        return r.seals[Sealing.key(stage, question, 0)].provider;
    }
}
