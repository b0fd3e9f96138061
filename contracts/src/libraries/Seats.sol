// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Job, Round, Store} from "../types/State.sol";
import {JobId, Stage} from "../types/Types.sol";
import {Draws} from "./Draws.sol";
import {Sealing} from "./Sealing.sol";
import {VerifierRosters} from "./VerifierRosters.sol";

/// @title Who sits where: drawn seats of one round, as views of its beacons and its roster.
/// @notice The candidates of seat s of S are the positions perm(seed, s + t*S, V), t < 16; the first eligible one holds it.
/// A provider's slots never judge its own work, nor a matter it is a side of.
library Seats {
    uint256 private constant TURNS = 16;

    /// @notice Holder of a drawn seat of `stage`; zero where nobody is eligible.
    function holder(Store storage s, JobId id, Stage stage, uint16 question, uint16 seat)
        external
        view
        returns (uint32, address)
    {
        Job storage job = s.jobs[id];
        return _holder(s, job, job.rounds[job.round], stage, question, seat);
    }

    /// @notice Seats of the panel on `question` that somebody is eligible for.
    function fillable(Store storage s, JobId id, uint16 question) external view returns (uint16 seats) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        Stage stage = question == job.terms.tasks ? Stage.UpdatePanel : Stage.Panel;
        for (uint16 seat = 0; seat < job.terms.panel; ++seat) {
            (, address provider) = _holder(s, job, r, stage, question, seat);
            if (provider != address(0)) ++seats;
        }
    }

    /// @notice Update seats to wait for: gatherers that posted, and the drawn ones that exist.
    function expectedOfUpdate(Store storage s, JobId id) external view returns (uint16 seats) {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        uint16 first = job.terms.gatherers;
        seats = r.gathered;
        for (uint16 seat = first; seat < first + 2; ++seat) {
            (, address provider) = _holder(s, job, r, Stage.UpdateCheck, job.terms.tasks, seat);
            if (provider != address(0)) seats |= uint16(1) << seat;
        }
    }

    function _holder(Store storage s, Job storage job, Round storage r, Stage stage, uint16 question, uint16 seat)
        private
        view
        returns (uint32 slot, address provider)
    {
        (bytes32 seed, uint256 start, uint256 seats) = _draw(job, r, stage, question, seat);
        if (start >= seats) return (0, address(0)); // no such seat
        uint256 verifiers = r.verifiers;
        for (uint256 x = start; x < verifiers && x < start + TURNS * seats; x += seats) {
            uint256 position = Draws.perm(seed, x, verifiers);
            (slot, provider) = VerifierRosters.at(s.verifiers, r.epoch, position);
            if (_eligible(job, r, stage, question, seat, provider, position)) return (slot, provider);
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
            return (Draws.seedOf(r.draw, Stage.Check, 0), drawnAs, checks + gatherers);
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
        if (stage == Stage.Check) return provider != _sealer(r, Stage.Work, question);
        if (stage == Stage.Panel) {
            return provider != _sealer(r, Stage.Work, question) && provider != _sealer(r, Stage.Check, question)
                && provider != _sealer(r, Stage.Challenge, question);
        }
        if (stage == Stage.UpdatePanel) {
            return provider != job.coordinatorProvider && provider != _sealer(r, Stage.UpdateChallenge, question)
                && !r.checkedUpdate[provider];
        }
        if (seat < job.terms.gatherers) return true;
        return provider != job.coordinatorProvider && !_gathers(job, r, position);
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
