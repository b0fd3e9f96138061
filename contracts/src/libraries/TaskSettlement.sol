// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {Job, Round, Store, WorkerSlot} from "../types/State.sol";
import {JobId, Reason, Seal, Stage, TaskResult} from "../types/Types.sol";
import {Bits} from "./Bits.sol";
import {Book, Ledger} from "./Ledger.sol";
import {Panels} from "./Panels.sol";
import {Sealing} from "./Sealing.sol";
import {WorkerRoster} from "./WorkerRoster.sol";
import {Works} from "./Works.sol";

/// @title Finalise, part one: pays, slashes and unlocks whatever hangs on the tasks of a round.
/// @notice Slot by slot, so that the vault is told of each slot once. Pay follows the task, never the update. Slashes go into the job's ledger before anything is paid from them.
library TaskSettlement {
    using Sealing for Seal;
    using Bits for uint256;

    /// @dev Seals settled per call, about: bounds the gas of one `advance`.
    uint256 private constant BUDGET = 128;

    /// @notice Settles the next tasks; afterwards `settled` says how far it came.
    function settle(Store storage s, IStakeVault vault, JobId id) external {
        Job storage job = s.jobs[id];
        Round storage r = job.rounds[job.round];
        uint256 tasks = job.terms.tasks;
        uint256 spent = 0;
        uint256 settled = r.settled;
        Book memory b = Ledger.open(vault, id, job.round, job.terms.bond);
        for (; settled < tasks && spent < BUDGET; ++settled) {
            b.question = uint16(Works.taskAt(r, settled, tasks));
            spent += r.disputed.has(b.question) ? 2 + job.terms.panel : 2;
            TaskResult result = _task(job, r, b);
            emit IJobMarket.TaskSettled(id, b.round, b.question, result);
        }
        r.settled = uint16(settled);
        Ledger.close(b);
    }

    function _task(Job storage job, Round storage r, Book memory b) private returns (TaskResult) {
        uint16 q = b.question;
        Seal memory work = Works.backing(job, r, q);
        if (!r.sealedTasks.has(q)) {
            if (r.claimed.has(q)) _penalise(job, b, work);
            return TaskResult.Empty;
        }
        if (r.isVoid) {
            _freeWork(job, b, work);
            if (r.answered.has(q)) _payCheck(job, r, b);
            return TaskResult.Void;
        }
        bool answered = r.answered.has(q);
        if (r.drawn.has(q) && !answered) {
            _freeWork(job, b, work);
            return TaskResult.Released;
        }
        if (!r.openedTasks.has(q)) return _unopened(job, r, b, work, answered);
        if (r.disputed.has(q)) return _disputed(job, r, b, work);
        _freeWork(job, b, work);
        if (answered) _payCheck(job, r, b);
        return _payWork(job, r, b, work.provider);
    }

    /// @dev A drawn worker loses its bond, an undrawn one half its pay; a check stands for itself.
    function _unopened(Job storage job, Round storage r, Book memory b, Seal memory work, bool answered)
        private
        returns (TaskResult)
    {
        if (answered) {
            Ledger.burn(b, _chargeWork(job, b, work, b.bond, Reason.Unopened), Reason.Remainder);
            if (r.openedChecks.has(b.question)) _payCheck(job, r, b);
            else Ledger.burn(b, Ledger.forfeit(b, _check(r, b.question)), Reason.Remainder);
        } else {
            _penalise(job, b, work);
        }
        return TaskResult.Unopened;
    }

    /// @dev Half the pay of what was missed, burnt: an undrawn seal that nobody opened, a claim that nobody sealed.
    function _penalise(Job storage job, Book memory b, Seal memory work) private {
        uint256 penalty = uint256(job.terms.reward) / 2;
        Ledger.burn(b, _chargeWork(job, b, work, penalty, Reason.Liveness), Reason.Liveness);
    }

    function _disputed(Job storage job, Round storage r, Book memory b, Seal memory work)
        private
        returns (TaskResult result)
    {
        bytes32 lead = Panels.leader(r, b.question);
        if (lead == 0) return _withoutLead(job, r, b, work);
        uint256 pot = 0;
        address raiser = address(0);
        if (Works.outcome(r, b.question) != lead) {
            pot += _chargeWork(job, b, work, b.bond, Reason.Wrong);
            result = TaskResult.Rejected;
        } else {
            _freeWork(job, b, work);
            result = _payWork(job, r, b, work.provider);
        }
        if (r.answered.has(b.question)) {
            Seal storage check = _check(r, b.question);
            if (check.outcome() == lead) {
                _payCheck(job, r, b);
                if (result == TaskResult.Rejected) raiser = check.provider;
            } else {
                pot += Ledger.forfeit(b, check);
            }
        }
        if (r.challenged.has(b.question)) {
            // INVARIANT: a challenge is right only with the verdict's outcome, and only against the accused's.
            Seal storage challenge = r.seals[Sealing.key(Stage.Challenge, b.question, 0)];
            if (challenge.outcome() == lead && result == TaskResult.Rejected) {
                Ledger.free(b, challenge);
                raiser = challenge.provider;
            } else {
                pot += Ledger.forfeit(b, challenge);
            }
        }
        (uint256 taken, uint256 paid) = Panels.settle(b, r, Stage.Panel, job.terms.panel, job.terms.fee, lead);
        Panels.divide(b, pot + taken - paid, raiser);
    }

    /// @dev Nobody is proven wrong: a challenger pays the panel, the sides of a dissent share it.
    function _withoutLead(Job storage job, Round storage r, Book memory b, Seal memory work)
        private
        returns (TaskResult result)
    {
        uint256 fee = job.terms.fee;
        uint256 cost = Panels.cost(r, b.question, fee);
        uint256 pot;
        if (r.challenged.has(b.question)) {
            _freeWork(job, b, work);
            if (r.answered.has(b.question)) _payCheck(job, r, b);
            pot = challengeCost(
                b, r.seals[Sealing.key(Stage.Challenge, b.question, 0)], Works.outcome(r, b.question), cost
            );
            result = _payWork(job, r, b, work.provider);
        } else {
            Seal storage check = _check(r, b.question);
            if (check.outcome() == 0) {
                pot = Ledger.forfeit(b, check);
                _freeWork(job, b, work);
            } else {
                pot = _chargeWork(job, b, work, cost / 2, Reason.PanelCosts);
                pot += Ledger.charge(b, check, cost - cost / 2, Reason.PanelCosts);
                Ledger.pay(b, check.provider, fee, Reason.CheckPaid);
            }
            _payHalf(b, work.provider, job.terms.reward);
            result = TaskResult.Undecided;
        }
        (uint256 taken, uint256 paid) = Panels.settle(b, r, Stage.Panel, job.terms.panel, fee, 0);
        Panels.divide(b, pot + taken - paid, address(0));
    }

    /// @notice Charges a challenger whose panel found no lead: the costs, or its whole bond where it named nothing new.
    function challengeCost(Book memory b, Seal storage challenge, bytes32 accused, uint256 cost)
        internal
        returns (uint256)
    {
        if (challenge.outcome() == 0 || challenge.outcome() == accused) return Ledger.forfeit(b, challenge);
        return Ledger.charge(b, challenge, cost, Reason.PanelCosts);
    }

    function _payWork(Job storage job, Round storage r, Book memory b, address provider) private returns (TaskResult) {
        uint256 reward = job.terms.reward;
        if (r.withheld.has(b.question)) {
            _payHalf(b, provider, reward);
            return TaskResult.Withheld;
        }
        Ledger.pay(b, provider, reward, Reason.TaskPaid);
        if (r.nonFinite.has(b.question)) return TaskResult.NonFinite;
        return r.included.has(b.question) ? TaskResult.Included : TaskResult.LeftOut;
    }

    function _payHalf(Book memory b, address provider, uint256 reward) private {
        Ledger.pay(b, provider, reward / 2, Reason.TaskHalved);
        Ledger.burn(b, reward - reward / 2, Reason.TaskHalved);
    }

    function _payCheck(Job storage job, Round storage r, Book memory b) private {
        Seal storage check = _check(r, b.question);
        Ledger.free(b, check);
        Ledger.pay(b, check.provider, job.terms.fee, Reason.CheckPaid);
    }

    function _check(Round storage r, uint16 question) private view returns (Seal storage) {
        return r.seals[Sealing.key(Stage.Check, question, 0)];
    }

    /// @dev An unslashed slot bond goes back to its slot, or to its owner when the slot has left.
    function _freeWork(Job storage job, Book memory b, Seal memory work) private {
        WorkerSlot storage slot = job.slots[work.slot];
        if (work.ofSlot) slot.backs = 0;
        if (!work.ofSlot || !slot.active) Ledger.unlock(b, work.provider, work.operator, b.bond);
    }

    /// @dev A slot whose bond was touched leaves the roster: every slot in it holds a whole bond.
    function _chargeWork(Job storage job, Book memory b, Seal memory work, uint256 amount, Reason why)
        private
        returns (uint256)
    {
        if (amount == 0) {
            _freeWork(job, b, work);
            return 0;
        }
        WorkerSlot storage slot = job.slots[work.slot];
        if (work.ofSlot) {
            slot.backs = 0;
            if (slot.active) {
                WorkerRoster.remove(job, work.slot);
                emit IJobMarket.WorkerLeft(b.job, work.slot, work.provider);
            }
        }
        return Ledger.charge(b, work.provider, work.operator, amount, why);
    }
}
