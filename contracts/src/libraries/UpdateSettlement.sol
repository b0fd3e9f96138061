// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Job, Round, StateRef, Store} from "../types/State.sol";
import {JobId, Reason, Seal, Stage} from "../types/Types.sol";
import {Book, Ledger} from "./Ledger.sol";
import {Panels} from "./Panels.sol";
import {NONFINITE, Sealing} from "./Sealing.sol";
import {TaskSettlement} from "./TaskSettlement.sol";

/// @title Finalise, part two: the update and everybody who had a duty in it.
/// @notice Never accepted unchecked: a state changes only by the agreement of everybody who sealed, or by a verdict.
library UpdateSettlement {
    using Sealing for Seal;

    /// @dev What the settlement of one update needs at hand.
    struct Matter {
        bytes32 proposed; // outcome of the proposer; zero where it did not open
        bytes32 accepted; // outcome that stands; zero where none does
        bytes32 lead; // of the panel
        uint256 fee; // u
        uint256 pot; // slashed bonds
        uint256 cost; // of a panel without a lead
        address raiser;
    }

    /// @notice Settles the update of the open round, once, after its tasks.
    function settle(Store storage s, IStakeVault vault, JobId id) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        Book memory b = Ledger.open(vault, id, job.round, job.terms.bond);
        b.question = job.terms.tasks;
        ++r.settled;
        if (r.updateChecked) _checked(job, r, b);
        else _unchecked(job, r, b);
        Ledger.close(b);
    }

    function _checked(Job storage job, Round storage r, Book memory b) private {
        Matter memory m = _matter(job, r, b);
        _proposer(job, r, b, m);
        _checkers(job, r, b, m);
        if (r.updateChallenged) _challenger(r, b, m);
        if (r.updateDisputed || r.updateChallenged) {
            (uint256 taken, uint256 paid) = Panels.settle(b, r, Stage.UpdatePanel, job.terms.panel, m.fee, m.lead);
            Panels.divide(b, m.pot + taken - paid, m.raiser);
        }
        _accept(job, r, b, m.accepted);
    }

    /// @dev No update was up for checking: what was sealed is unlocked, and who gathered is paid.
    function _unchecked(Job storage job, Round storage r, Book memory b) private {
        if (r.proposed) _freeProposer(job, r, b);
        for (uint16 seat = 0; seat < job.terms.gatherers + 2; ++seat) {
            if (_has(r.updateAnswered, seat)) Ledger.free(b, _checker(r, b, seat));
            if (_has(r.gathered, seat)) {
                Ledger.pay(b, r.gatherers[seat], job.terms.updateFee, Reason.GatherPaid);
            }
        }
    }

    function _matter(Job storage job, Round storage r, Book memory b) private view returns (Matter memory m) {
        m.proposed = Sealing.proposal(r, b.question).outcome();
        m.fee = job.terms.updateFee;
        m.accepted = m.proposed;
        if (r.updateDisputed || r.updateChallenged) {
            m.lead = Panels.leader(r, b.question);
            if (m.lead != 0) m.accepted = m.lead;
            else m.cost = Panels.cost(r, b.question, m.fee);
            if (m.lead == 0 && r.updateDisputed) m.accepted = 0;
        }
    }

    function _proposer(Job storage job, Round storage r, Book memory b, Matter memory m) private {
        if (m.proposed != 0 && m.proposed == m.accepted) {
            _freeProposer(job, r, b);
            Ledger.pay(b, Sealing.proposal(r, b.question).provider, m.fee, Reason.UpdatePaid);
        } else if (m.proposed == 0) {
            m.pot += _chargeProposer(job, r, b, job.terms.coordinatorBond, Reason.Unopened);
        } else if (m.accepted != 0) {
            m.pot += _chargeProposer(job, r, b, job.terms.coordinatorBond, Reason.Wrong);
        } else if (m.cost / 2 != 0) {
            m.pot += _chargeProposer(job, r, b, m.cost / 2, Reason.PanelCosts);
        } else {
            _freeProposer(job, r, b);
        }
    }

    function _checkers(Job storage job, Round storage r, Book memory b, Matter memory m) private {
        uint16 gatherers = job.terms.gatherers;
        // A proposer that did not open pays a panel without a lead alone; the first dissenter is half of it else.
        bool sharesCost = m.accepted == 0 && m.proposed != 0;
        for (uint16 seat = 0; seat < gatherers + 2; ++seat) {
            if (!_has(r.updateAnswered, seat)) continue;
            Seal storage s = _checker(r, b, seat);
            bool dissents = s.outcome() != m.proposed;
            if (s.outcome() == 0 || (m.accepted != 0 && s.outcome() != m.accepted)) {
                m.pot += Ledger.forfeit(b, s);
                sharesCost = false;
                continue;
            }
            if (sharesCost && dissents) {
                m.pot += Ledger.charge(b, s, m.cost - m.cost / 2, Reason.PanelCosts);
                sharesCost = false;
            } else {
                Ledger.free(b, s);
            }
            if (m.lead != 0 && dissents && m.raiser == address(0)) m.raiser = s.provider;
            if (seat < gatherers) Ledger.pay(b, s.provider, m.fee, Reason.GatherPaid);
            else if (m.accepted != 0) Ledger.pay(b, s.provider, m.fee, Reason.UpdateCheckPaid);
        }
    }

    function _challenger(Round storage r, Book memory b, Matter memory m) private {
        Seal storage s = r.seals[Sealing.key(Stage.UpdateChallenge, b.question, 0)];
        if (m.lead == 0) {
            m.pot += TaskSettlement.challengeCost(b, s, m.proposed, m.cost);
        } else if (s.outcome() == m.lead && s.outcome() != m.proposed) {
            Ledger.free(b, s);
            m.raiser = s.provider;
        } else {
            m.pot += Ledger.forfeit(b, s);
        }
    }

    /// @dev The coordinator's C stays with its post; a gatherer's in its place was locked for this proposal.
    function _freeProposer(Job storage job, Round storage r, Book memory b) private {
        if (r.proposer == 0) return;
        Seal storage s = Sealing.proposal(r, b.question);
        Ledger.unlock(b, s.provider, s.operator, job.terms.coordinatorBond);
    }

    /// @dev Takes `amount` of C and unlocks the rest; a coordinator's bond that was touched ends its post.
    function _chargeProposer(Job storage job, Round storage r, Book memory b, uint256 amount, Reason why)
        private
        returns (uint256)
    {
        Seal storage s = Sealing.proposal(r, b.question);
        // The post's bond counts against the operator that the job names.
        address operator = r.proposer == 0 ? job.terms.coordinator : s.operator;
        uint256 bond = job.terms.coordinatorBond;
        Ledger.slash(b, s.provider, operator, amount, why);
        if (amount < bond) Ledger.unlock(b, s.provider, operator, bond - amount);
        if (r.proposer == 0) {
            job.coordinatorProvider = address(0);
            emit IJobMarket.CoordinatorRemoved(b.job, s.provider);
        }
        return amount;
    }

    function _accept(Job storage job, Round storage r, Book memory b, bytes32 outcome) private {
        StateRef storage state = r.states[outcome];
        // INVARIANT: a state that left the finite numbers is no state.
        if (outcome == 0 || state.root == NONFINITE) return;
        r.updated = true;
        ++job.updates;
        job.stateRoot = state.root;
        job.stateCid = state.cid;
        emit IJobMarket.UpdateAccepted(b.job, b.round, state.root, state.cid);
    }

    function _checker(Round storage r, Book memory b, uint16 seat) private view returns (Seal storage) {
        return r.seals[Sealing.key(Stage.UpdateCheck, b.question, seat)];
    }

    function _has(uint16 seats, uint16 seat) private pure returns (bool) {
        return (seats >> seat) & 1 == 1;
    }
}
