// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phase, RoundView, Stage, Terms} from "../../src/types/Types.sol";
import {Play} from "./Play.sol";
import {vm} from "./Vm.sol";

/// @notice Plays markets at random, but guided: most calls fit the phase, so that the deep states are reached.
/// @dev Counts the successes of each kind of move; a test asserts that none of them stays rare.
contract Handler is Play {
    enum Move {
        Post,
        SealWork,
        SealCheck,
        OpenWork,
        Gather,
        Challenge,
        SealPanel,
        OpenPanel,
        SealUpdate,
        SealUpdateCheck,
        OpenUpdate,
        ChallengeUpdate,
        SealUpdatePanel,
        OpenUpdatePanel,
        Roster,
        Money,
        Wait,
        Void,
        Updated
    }

    mapping(Move => uint256) public done;
    uint256 public enrolled = 16; // verifier slots ever
    uint256 public released; // verifier slots whose bond came back
    bool public paidEarly; // credits or burnt money moved inside a round
    uint256 private _seed;

    constructor() {
        deploy(5, 16);
        enrolAll();
        _post();
    }

    function terms() internal view override returns (Terms memory t) {
        t = super.terms();
        t.rounds = 3;
        t.maxFailedRounds = 3;
    }

    // --- moves ---

    /// @notice Something that fits the phase, by somebody entitled to it, mostly with the truth.
    function act(uint256 seed) external {
        _seed = seed;
        RoundView memory r = market.roundOf(job);
        (,,, uint256 credits, uint256 gone) = vault.totals();
        Phase p = r.phase;
        if (p == Phase.Ended) _post();
        else if (p == Phase.Waiting) _fill();
        else if (p == Phase.Commit) _sealWork(r);
        else if (p == Phase.Check) _sealCheck(r);
        else if (p == Phase.Reveal) _openWork(r);
        else if (p == Phase.Gather) _gatherOrChallenge(r);
        else if (p == Phase.VerdictSeal || p == Phase.UpdateVerdictSeal) _sealPanel(r);
        else if (p == Phase.VerdictOpen || p == Phase.UpdateVerdictOpen) _openPanel(r);
        else if (p == Phase.Update) _try(Move.SealUpdate, abi.encodeCall(this.doSealUpdate, (_lie(8))));
        else if (p == Phase.UpdateCheck) _sealUpdateCheck();
        else if (p == Phase.UpdateOpen) _openUpdate(r);
        else if (p == Phase.UpdateChallenge) _challenge(TASKS, Move.ChallengeUpdate);
        else _wait();
        _watch(r, credits, gone);
    }

    /// @notice Time passes; in a window only now and then, so that its work gets done.
    function wait(uint256 seed) external {
        _seed = seed;
        RoundView memory r = market.roundOf(job);
        (,,, uint256 credits, uint256 gone) = vault.totals();
        if (r.deadline != 0 && r.phase != Phase.Waiting && _pick(6) != 0) vm.roll(block.number + 1);
        else _wait();
        _watch(r, credits, gone);
    }

    /// @notice Somebody joins, leaves, is dropped, enrols, retires or is released.
    function roster(uint256 seed) external {
        _seed = seed;
        address worker = workers[_pick(workers.length)];
        address verifier = verifiers[_pick(verifiers.length)];
        uint256 kind = _pick(8);
        if (kind < 3) _send(Move.Roster, operatorOf(worker), abi.encodeCall(market.join, (job, worker, 1)));
        if (kind == 3) _send(Move.Roster, worker, abi.encodeCall(market.leave, (job, uint32(1 + _pick(12)))));
        if (kind == 4) {
            bytes memory drop = abi.encodeCall(market.drop, (job, uint32(1 + _pick(12)), uint16(_pick(TASKS))));
            _send(Move.Roster, address(this), drop);
        }
        if (kind == 5) {
            if (_send(Move.Roster, operatorOf(verifier), abi.encodeCall(market.enrol, (verifier, 1)))) ++enrolled;
        }
        if (kind == 6) _send(Move.Roster, verifier, abi.encodeCall(market.retire, (uint32(1 + _pick(30)))));
        if (kind == 7) {
            if (_send(Move.Roster, address(this), abi.encodeCall(market.release, (uint32(1 + _pick(30)))))) ++released;
        }
    }

    /// @notice Somebody moves its own money.
    function money(uint256 seed) external {
        _seed = seed;
        address owner = _pick(2) == 0 ? workers[_pick(workers.length)] : verifiers[_pick(verifiers.length)];
        uint256 kind = _pick(3);
        bytes memory call_ = kind == 0
            ? abi.encodeCall(vault.collect, (owner))
            : kind == 1
                ? abi.encodeCall(vault.withdraw, (1 + _pick(1_000), owner))
                : abi.encodeCall(vault.deposit, (1 + _pick(500)));
        vm.prank(owner);
        (bool ok,) = address(vault).call(call_);
        if (ok) ++done[Move.Money];
    }

    // --- entry points for `_try`: a revert inside undoes the whole move ---

    function doSealUpdate(uint256 variant) external {
        sealUpdate(variant);
    }

    function doOpen(Stage stage, uint16 question, uint16 seat, uint256 variant) external {
        open(stage, question, seat, variant);
    }

    function doOpenPanel(uint16 question, uint16 seat, uint256 variant) external {
        openPanel(question, seat, variant);
    }

    function doSealWork(uint16 task, uint256 variant) external {
        sealWork(task, variant);
    }

    function doSealCheck(uint16 task, uint256 variant) external {
        sealCheck(task, variant);
    }

    function doGather(uint16 seat, uint256 bitmap) external {
        gather(seat, bitmap);
    }

    function doChallenge(uint16 question, address provider, uint256 variant) external {
        challenge(question, provider, variant);
    }

    function doSealPanel(uint16 question, uint16 seat, uint256 variant) external {
        sealPanel(question, seat, variant);
    }

    function doSealUpdateCheck(uint16 seat, uint256 variant) external {
        sealUpdateCheck(seat, variant);
    }

    // --- inside ---

    function _post() private {
        Terms memory t = terms();
        postAndAccept(t);
        ++done[Move.Post];
        for (uint256 i = 0; i < 4; ++i) {
            join(workers[i], 1);
        }
    }

    function _fill() private {
        vm.prank(operatorOf(coordinatorOwner));
        try market.accept(job, coordinatorOwner) {} catch {}
        address worker = workers[_pick(workers.length)];
        _send(Move.Roster, operatorOf(worker), abi.encodeCall(market.join, (job, worker, 1)));
    }

    function _sealWork(RoundView memory r) private {
        uint16 task = _member(~r.sealedTasks & 15);
        _try(Move.SealWork, abi.encodeCall(this.doSealWork, (task, _remember(Stage.Work, task, 0, 5))));
    }

    function _sealCheck(RoundView memory r) private {
        if (_pick(8) == 0) return _wait();
        uint16 task = _member(r.drawn & ~r.answered);
        _try(Move.SealCheck, abi.encodeCall(this.doSealCheck, (task, _remember(Stage.Check, task, 0, 4))));
    }

    function _openWork(RoundView memory r) private {
        uint256 released_ = r.drawn & ~r.answered;
        bool work = _pick(2) == 0;
        uint256 left = work ? r.sealedTasks & ~released_ & ~r.openedTasks : r.answered & ~r.openedChecks;
        Stage stage = work ? Stage.Work : Stage.Check;
        if (left == 0) return;
        _open(Move.OpenWork, stage, _member(left), 0);
    }

    function _gatherOrChallenge(RoundView memory r) private {
        uint256 kind = _pick(4);
        uint16 seat = uint16(_pick(3));
        if (kind == 0 && r.openedTasks != 0) return _challenge(_member(r.openedTasks), Move.Challenge);
        if (kind == 3) return _wait();
        _try(Move.Gather, abi.encodeCall(this.doGather, (seat, _pick(4) == 0 ? _pick(16) : 15)));
    }

    function _challenge(uint16 question, Move move) private {
        if (question == TASKS && _pick(4) == 0) return _wait();
        address provider = verifiers[_pick(verifiers.length)];
        Stage stage = question == TASKS ? Stage.UpdateChallenge : Stage.Challenge;
        uint256 variant = _remember(stage, question, 0, 2);
        _try(move, abi.encodeCall(this.doChallenge, (question, provider, variant)));
    }

    function _sealPanel(RoundView memory r) private {
        bool ofUpdate = r.phase == Phase.UpdateVerdictSeal;
        uint16 question = ofUpdate ? TASKS : _member(r.disputed);
        uint16 seat = uint16(_pick(3));
        uint256 variant = _remember(panelStage(question), question, seat, 4);
        Move move = ofUpdate ? Move.SealUpdatePanel : Move.SealPanel;
        _try(move, abi.encodeCall(this.doSealPanel, (question, seat, variant)));
    }

    function _openPanel(RoundView memory r) private {
        bool ofUpdate = r.phase == Phase.UpdateVerdictOpen;
        uint16 question = ofUpdate ? TASKS : _member(r.disputed);
        if (_pick(3) == 0) {
            return _open(
                ofUpdate ? Move.OpenUpdatePanel : Move.OpenPanel,
                ofUpdate ? Stage.UpdateChallenge : Stage.Challenge,
                question,
                0
            );
        }
        uint16 seat = uint16(_pick(3));
        uint256 variant = _memory[_key(panelStage(question), question, seat)];
        Move move = ofUpdate ? Move.OpenUpdatePanel : Move.OpenPanel;
        _try(move, abi.encodeCall(this.doOpenPanel, (question, seat, variant)));
    }

    function _sealUpdateCheck() private {
        uint16 seat = uint16(_pick(5));
        uint256 variant = _remember(Stage.UpdateCheck, TASKS, seat, 30);
        _try(Move.SealUpdateCheck, abi.encodeCall(this.doSealUpdateCheck, (seat, variant)));
    }

    function _openUpdate(RoundView memory r) private {
        if (!r.proposalOpened && _pick(2) == 0) {
            uint256 variant = _memory[_key(Stage.Update, TASKS, 0)];
            return _try(Move.OpenUpdate, abi.encodeCall(this.doOpen, (Stage.Update, TASKS, 0, variant)));
        }
        _open(Move.OpenUpdate, Stage.UpdateCheck, TASKS, uint16(_pick(5)));
    }

    function _open(Move move, Stage stage, uint16 question, uint16 seat) private {
        uint256 variant = _memory[_key(stage, question, seat)];
        _try(move, abi.encodeCall(this.doOpen, (stage, question, seat, variant)));
    }

    function _wait() private {
        RoundView memory r = market.roundOf(job);
        if (r.phase == Phase.Ended) return _post();
        if (r.phase != Phase.Finalise) vm.roll(r.beaconBlock != 0 ? r.beaconBlock + 1 : r.deadline);
        market.advance(job);
        ++done[Move.Wait];
    }

    // --- memory of what was sealed, so that it can be opened ---

    mapping(uint256 key => uint256 variant) private _memory;

    function _key(Stage stage, uint16 question, uint16 seat) private view returns (uint256) {
        return uint256(keccak256(abi.encode(job, number(), stage, question, seat)));
    }

    /// @dev A variant for a seal not yet made; an existing one keeps its own.
    function _remember(Stage stage, uint16 question, uint16 seat, uint256 odds) private returns (uint256 variant) {
        uint256 key = _key(stage, question, seat);
        if (market.sealOf(job, number(), stage, question, seat).hash != 0) return _memory[key];
        variant = _lie(odds);
        _memory[key] = variant;
    }

    /// @dev The truth, but a lie once in `odds`.
    function _lie(uint256 odds) private returns (uint256 variant) {
        if (_pick(odds) == 0) variant = _pick(4) == 0 ? DIVERGED : 1 + _pick(2);
        if (phase() == Phase.Update) _memory[_key(Stage.Update, TASKS, 0)] = variant;
    }

    function _pick(uint256 n) private returns (uint256) {
        _seed = uint256(keccak256(abi.encode(_seed)));
        return _seed % n;
    }

    function _member(uint256 set) private returns (uint16 i) {
        if (set == 0) return uint16(_pick(TASKS));
        do {
            i = uint16(_pick(TASKS));
        } while ((set >> i) & 1 == 0);
    }

    function _try(Move move, bytes memory call_) private {
        (bool ok,) = address(this).call(call_);
        if (ok) ++done[move];
    }

    function _send(Move move, address from, bytes memory call_) private returns (bool ok) {
        vm.prank(from);
        (ok,) = address(market).call(call_);
        if (ok) ++done[move];
    }

    /// @dev Invariant 5: inside a round nothing is paid and nothing burnt; also counts what rounds came to.
    function _watch(RoundView memory before, uint256 credits, uint256 gone) private {
        RoundView memory r = market.roundOf(job);
        (,,, uint256 creditsNow, uint256 goneNow) = vault.totals();
        bool inside = r.number == before.number && r.phase < Phase.Finalise && before.phase > Phase.Waiting;
        if (inside && (creditsNow != credits || goneNow != gone)) paidEarly = true;
        if (market.jobOf(job).updates != 0) ++done[Move.Updated];
        if (before.phase == Phase.Check && r.number != before.number) ++done[Move.Void];
    }

    // --- what must hold ---

    function assertAllBooks() external view {
        assertBooks();
    }

    /// @notice Invariant 2: the ledger of a job covers the worst case of the rounds that are still to be settled.
    function assertCovered() external view {
        RoundView memory r = market.roundOf(job);
        if (r.phase == Phase.Ended || r.phase == Phase.Finalise) return;
        uint256 perRound = 4 * uint256(W) + 2 * uint256(F) + 6 * uint256(U);
        assertTrue(vault.escrowOf(job) >= (3 - r.number) * perRound, "a round is not covered");
    }
}
