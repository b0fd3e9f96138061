// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeVault} from "../../src/interfaces/IStakeVault.sol";
import {Panels} from "../../src/libraries/Panels.sol";
import {Sealing} from "../../src/libraries/Sealing.sol";
import {TaskSettlement} from "../../src/libraries/TaskSettlement.sol";
import {WorkerRoster} from "../../src/libraries/WorkerRoster.sol";
import {Job, Round, Store} from "../../src/types/State.sol";
import {JobId, Seal, Stage} from "../../src/types/Types.sol";
import {Assuming} from "./DrawsProofs.t.sol";

/// @notice The vault's ledgers as sums: moves what it is told to and refuses to overdraw, as StakeVault does.
contract Sums {
    uint256 public escrow;
    uint256 public free;
    uint256 public burnt;
    mapping(address provider => uint256) public lockedOf;
    mapping(address account => uint256) public creditOf;

    constructor(uint256 escrow_) {
        escrow = escrow_;
    }

    function lock(address provider, uint256 amount) external {
        lockedOf[provider] += amount;
    }

    function unlock(address provider, address, uint256 amount) external {
        lockedOf[provider] -= amount;
        free += amount;
    }

    function slash(JobId, address provider, address, uint256 amount) external {
        lockedOf[provider] -= amount;
        escrow += amount;
    }

    function credit(JobId, address account, uint256 amount) external {
        escrow -= amount;
        creditOf[account] += amount;
    }

    function burn(JobId, uint256 amount) external {
        escrow -= amount;
        burnt += amount;
    }
}

/// @notice What can have happened to one task. Outcomes are 0 (not opened), 1 (the worker's own), 2 and 3 (others).
struct Facts {
    bool isSealed;
    bool claimed;
    bool drawn;
    bool answered;
    bool opened;
    bool challenged;
    bool isVoid;
    bool ofSlot;
    bool active;
    bool nonFinite;
    bool included;
    bool withheld;
    uint8 check;
    uint8 challenge;
}

/// @notice The money of a task, whatever its terms are and whatever happened to it. Run by `make halmos`.
/// @dev The longest arguments are about amounts of 32 bits, which keeps their queries small.
/// What is to be shown, for every state of one task that the phases before can leave behind, with amounts that the terms' bounds allow:
/// it always settles; it takes no more than w + f out of the job's budget; every bond is freed, slashed or still its
/// slot's; nobody gets more than its due.
/// @custom:halmos --solver z3
contract PayoutProofs {
    Assuming private constant vm = Assuming(address(uint160(uint256(keccak256("hevm cheat code")))));
    JobId private constant ID = JobId.wrap(1);
    address private constant WORKER = address(0x1001);
    address private constant CHECKER = address(0x1002);
    address private constant CHALLENGER = address(0x1003);
    address private constant MEMBER = address(0x2000);

    Store private _s;
    Sums private _vault;

    /// @notice A task that nobody argues about: empty, claimed, released, void, unopened, checked or not.
    function check_undisputed(uint96 w, uint96 f, uint96 b, Facts memory x) public {
        _open(w, f, b, 1);
        vm.assume(!x.challenged && (x.check == 0 || x.check == 1 || !x.opened) && x.challenge == 0);
        _settle(x, new uint256[](0));
    }

    /// @notice A dissenting check, and a panel of one.
    function check_dissentBeforeOne(uint96 w, uint96 f, uint96 b, Facts memory x, uint8 vote) public {
        _open(w, f, b, 1);
        vm.assume(x.answered && !x.challenged);
        _settleArgued(x, _votes(vote));
    }

    /// @notice A challenge of an unchecked result, and a panel of one.
    function check_challengeBeforeOne(uint96 w, uint96 f, uint96 b, Facts memory x, uint8 vote) public {
        _open(w, f, b, 1);
        vm.assume(!x.answered && x.challenged);
        _settleArgued(x, _votes(vote));
    }

    /// @notice A checked result that is challenged as well, and a panel of one.
    function check_bothBeforeOne(uint32 w, uint32 f, uint32 b, Facts memory x, uint8 vote) public {
        _open(w, f, b, 1);
        vm.assume(x.answered && x.challenged);
        _assumePlain(x);
        _settleArgued(x, _votes(vote));
    }

    /// @notice A dissenting check before a panel of three: leads, ties, silence.
    function check_dissentBeforeThree(uint32 w, uint32 f, uint32 b, Facts memory x, uint8 i, uint8 j, uint8 k) public {
        _open(w, f, b, 3);
        vm.assume(x.answered && !x.challenged);
        _assumePlain(x);
        _settleArgued(x, _votes(i, j, k));
    }

    /// @notice A challenge of an unchecked result before a panel of three.
    function check_challengeBeforeThree(uint32 w, uint32 f, uint32 b, Facts memory x, uint8 i, uint8 j, uint8 k)
        public
    {
        _open(w, f, b, 3);
        vm.assume(!x.answered && x.challenged);
        _assumePlain(x);
        _settleArgued(x, _votes(i, j, k));
    }

    /// @dev What matters to an argument; who is in the roster and who claimed is the undisputed task's proof.
    function _settleArgued(Facts memory x, uint256[] memory votes) private {
        vm.assume(x.opened && !x.isVoid && !x.claimed && x.active && !x.nonFinite && !x.included);
        vm.assume(x.drawn == x.answered && (x.answered || x.check == 0) && (x.challenged || x.challenge == 0));
        vm.assume(x.challenged || (x.answered && x.check != 1));
        _settle(x, votes);
    }

    /// @dev Whose bond it is, and who held the result, is left to the two simplest arguments.
    function _assumePlain(Facts memory x) private {
        vm.assume(!x.ofSlot && !x.withheld);
    }

    function _votes(uint8 vote) private returns (uint256[] memory votes) {
        votes = new uint256[](1);
        votes[0] = _one(vote, 4);
    }

    /// @dev In ascending order: every combination once. Other orders are for the tests of play.
    function _votes(uint8 i, uint8 j, uint8 k) private returns (uint256[] memory votes) {
        vm.assume(i <= j && j <= k);
        votes = new uint256[](3);
        (votes[0], votes[1], votes[2]) = (_one(i, 4), _one(j, 4), _one(k, 4));
    }

    /// @dev A path for every value of `x` up to `most`: what names a place in storage is better a number than a symbol.
    function _one(uint8 x, uint8 most) private returns (uint8) {
        vm.assume(x <= most);
        for (uint8 value = 0; value < most; ++value) {
            if (x == value) return value;
        }
        return most;
    }

    /// @dev Terms within the bounds of TermsCheck for one task that is always checked, which are the tightest.
    function _open(uint256 w, uint256 f, uint256 b, uint256 panel) private {
        vm.assume(w >= 2 && f >= w && b >= 3 * w + panel * f);
        Job storage job = _s.jobs[ID];
        (job.terms.tasks, job.terms.checks, job.terms.panel) = (1, 1, uint8(panel));
        (job.terms.reward, job.terms.fee, job.terms.bond) = (uint96(w), uint96(f), uint96(b));
        _vault = new Sums(w + f);
    }

    function _settle(Facts memory x, uint256[] memory votes) private {
        _assumePossible(x);
        Job storage job = _s.jobs[ID];
        Round storage r = job.rounds[job.round]; // not `rounds[0]`, which halmos 0.3.3 takes for another place
        uint32 slot = WorkerRoster.add(job, WORKER, WORKER);
        r.workers = 1;
        r.roster = job.roster;
        uint256 b = job.terms.bond;
        // A slot that left while its bond was behind a seal is no longer in the roster.
        if (!x.active) WorkerRoster.remove(job, slot);
        if (x.isSealed || x.claimed) {
            if (x.ofSlot) job.slots[slot].backs = 1;
            else _vault.lock(WORKER, b); // its own, besides the slot's
        }
        if (x.active || x.ofSlot) _vault.lock(WORKER, b);
        if (x.claimed) (r.claimed, r.claimants[0]) = (1, slot);
        r.sealedTasks = x.isSealed ? 1 : 0;
        r.drawn = x.drawn ? 1 : 0;
        r.answered = x.answered ? 1 : 0;
        r.openedTasks = x.opened ? 1 : 0;
        r.openedChecks = x.answered && x.check != 0 ? 1 : 0;
        r.nonFinite = x.nonFinite ? 1 : 0;
        r.included = x.included ? 1 : 0;
        r.withheld = x.withheld ? 1 : 0;
        r.challenged = x.challenged ? 1 : 0;
        r.isVoid = x.isVoid;
        r.work[0] = bytes32(uint256(1));
        if (x.answered) _seal(r, Stage.Check, 0, CHECKER, x.check, b);
        if (x.challenged) _seal(r, Stage.Challenge, 0, CHALLENGER, x.challenge, b);
        r.disputed = votes.length != 0 ? 1 : 0;
        for (uint16 seat = 0; seat < votes.length; ++seat) {
            if (votes[seat] == 4) continue; // never sealed
            _seal(r, Stage.Panel, seat, _member(seat), votes[seat], b);
            if (votes[seat] != 0) Panels.vote(r, 0, bytes32(votes[seat]));
        }

        try this.settle() {}
        catch {
            assert(false); // it always settles, and never overdraws
        }

        // Sums of what is wrong: one question to the solver for a path, where a line for each would be nine.
        uint256 held = x.active && job.slots[slot].active ? b : 0; // still its slot's
        uint256 wrong = _vault.lockedOf(WORKER) ^ held;
        wrong |= _vault.lockedOf(CHECKER) | _vault.lockedOf(CHALLENGER);
        uint256 f = job.terms.fee;
        wrong |= _above(_vault.creditOf(WORKER), job.terms.reward);
        wrong |= _above(_vault.creditOf(CHECKER), f + b / 10);
        wrong |= _above(_vault.creditOf(CHALLENGER), b / 10);
        for (uint16 seat = 0; seat < votes.length; ++seat) {
            wrong |= _vault.lockedOf(_member(seat)) | _above(_vault.creditOf(_member(seat)), f);
        }
        assert(wrong == 0);
    }

    /// @dev 1 where `gain` is above `due`; without a branch.
    function _above(uint256 gain, uint256 due) private pure returns (uint256 above) {
        assembly ("memory-safe") {
            above := gt(gain, due)
        }
    }

    function settle() external {
        TaskSettlement.settle(_s, IStakeVault(address(_vault)), ID);
    }

    /// @dev What the phases before guarantee.
    function _assumePossible(Facts memory x) private {
        (x.check, x.challenge) = (_one(x.check, 3), _one(x.challenge, 3));
        vm.assume(x.isSealed || (!x.drawn && !x.opened));
        vm.assume(x.drawn || !x.answered);
        vm.assume(!x.opened || !x.drawn || x.answered); // who is released opens nothing
        vm.assume(!x.challenged || x.opened); // only what is revealed can be challenged
        vm.assume(!(x.included && x.withheld) && !(x.nonFinite && (x.included || x.withheld)));
        vm.assume(x.opened || !(x.nonFinite || x.included || x.withheld));
        vm.assume(!x.ofSlot || x.isSealed || x.claimed);
    }

    function _seal(Round storage r, Stage stage, uint16 seat, address provider, uint256 outcome, uint256 b) private {
        bool opened = outcome != 0;
        bytes32 hash = bytes32(opened ? outcome : 99);
        r.seals[Sealing.key(stage, 0, seat)] = Seal(hash, provider, 0, false, opened, provider);
        _vault.lock(provider, b);
    }

    function _member(uint16 seat) private pure returns (address) {
        return address(uint160(MEMBER) + seat);
    }
}
