// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {JobMarket} from "../src/JobMarket.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {JobId, Outcome, Permit, Stage, Terms} from "../src/types/Types.sol";
import {Deployed} from "./support/Deployed.sol";
import {Reentrant} from "./support/Reentrant.sol";
import {HookToken} from "./support/Tokens.sol";
import {vm} from "./support/Vm.sol";

/// @notice A token that calls its holders back: every entry point of market and vault, from inside every move of money.
contract ReentrancyTest is Deployed {
    error Reached(uint256 move, uint256 entry, bytes answer);

    uint256 private constant STAKE = 1e9;
    uint256 private constant MOVES = 6;
    Reentrant private attacker;
    HookToken private hook;
    uint256 private escrow;
    bytes[] private toMarket;
    bytes[] private toVault;

    function setUp() public {
        vm.roll(1_000);
        hook = new HookToken();
        beacon = newBeacon();
        market = new JobMarket(address(hook), deploymentConfig());
        vault = StakeVault(market.VAULT());
        attacker = new Reentrant();
        escrow = market.requiredEscrow(terms());
        // A bystander, whose money is what there is to steal.
        hook.approve(address(vault), STAKE);
        vault.deposit(STAKE);
        hook.transfer(address(attacker), 10 * STAKE);
        _do(address(hook), abi.encodeCall(IERC20.approve, (address(vault), type(uint256).max)));
        _do(address(vault), abi.encodeCall(IStakeVault.deposit, (STAKE)));
        _do(address(vault), abi.encodeCall(IStakeVault.authorise, (address(attacker), STAKE)));
        _do(address(market), abi.encodeCall(IJobMarket.post, (terms(), escrow)));
        job = JobId.wrap(market.jobs());
        // One that has ended, so that there is something to collect.
        _do(address(market), abi.encodeCall(IJobMarket.post, (terms(), escrow)));
        _do(address(market), abi.encodeCall(IJobMarket.stop, (JobId.wrap(2))));
        _listEntries();
    }

    function terms() internal view override returns (Terms memory t) {
        t = super.terms();
        t.coordinator = address(attacker);
    }

    // --- every entry point, from inside every move ---

    function test_vault_isClosedWhileItMovesMoney() public {
        uint256 guarded = 0;
        for (uint256 move = 0; move < MOVES; ++move) {
            for (uint256 i = 0; i < toVault.length; ++i) {
                (bool inside, bytes memory answer) = _tryInside(move, address(vault), toVault[i]);
                bytes4 why = bytes4(answer);
                if (why == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector) ++guarded;
                else if (i < 4) revert Reached(move, i, answer); // deposit, depositWithPermit, withdraw, collect
                else if (i >= 7 && (inside || why != IStakeVault.OnlyMarket.selector)) revert Reached(move, i, answer);
            }
        }
        assertEq(guarded, 4 * MOVES, "every way of moving the token, every time");
    }

    function test_market_movesNothingItShouldNot_fromInside() public {
        uint256 reached = 0;
        for (uint256 move = 0; move < MOVES; ++move) {
            for (uint256 i = 0; i < toMarket.length; ++i) {
                (bool inside, bytes memory answer) = _tryInside(move, address(market), toMarket[i]);
                if (inside) ++reached;
                // post, postWithPermit, post among others: closed by the market's guard, or by the vault's.
                bool pulls = i < 2 || i == toMarket.length - 1;
                if (pulls && bytes4(answer) != ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector) {
                    revert Reached(move, i, answer);
                }
            }
        }
        // advance, stop, accept, join and enrol are harmless, and were really reached.
        assertTrue(reached >= 4 * MOVES, "too few calls got through for this to mean anything");
    }

    /// @notice While its escrow is being pulled, a job is not there yet: a stop would have ended it, and the escrow that
    /// arrives afterwards would lie in it for ever.
    function test_jobWhoseEscrowIsUnderWay_doesNotExist() public {
        JobId next = JobId.wrap(market.jobs() + 1);
        attacker.arm(address(market), abi.encodeCall(IJobMarket.stop, (next)));
        _do(address(market), abi.encodeCall(IJobMarket.post, (terms(), escrow)));
        assertEq(attacker.calls(), 1, "called once, before the tokens left");
        assertEq(
            keccak256(attacker.answer()),
            keccak256(abi.encodeWithSelector(IJobMarket.NoSuchJob.selector, next)),
            "answer"
        );
        _do(address(market), abi.encodeCall(IJobMarket.stop, (next)));
        assertEq(vault.escrowOf(next), 0, "all of it comes back");
    }

    // --- inside ---

    /// @dev Plays one move of money with one call inside it, checks the books, and undoes all of it.
    function _tryInside(uint256 move, address target, bytes memory call)
        private
        returns (bool succeeded, bytes memory answer)
    {
        uint256 before = vm.snapshotState();
        uint256 wealthBefore = _wealth();
        attacker.arm(target, call);
        (address at, bytes memory data) = _move(move);
        _do(at, data);
        assertEq(attacker.calls(), 1, "the token called back");
        (succeeded, answer) = (attacker.succeeded(), attacker.answer());
        attacker.arm(address(0), "");
        assertEq(_wealth(), wealthBefore, "the attacker's own money, no more and no less");
        assertEq(vault.freeOf(address(this)), STAKE, "the bystander's bond");
        (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 gone) = vault.totals();
        assertEq(hook.balanceOf(address(vault)), free + locked + escrows + credits + gone, "balance identity");
        vm.revertToState(before);
    }

    function _move(uint256 move) private view returns (address, bytes memory) {
        Permit memory none;
        if (move == 0) return (address(vault), abi.encodeCall(IStakeVault.deposit, (5)));
        if (move == 1) return (address(vault), abi.encodeCall(IStakeVault.depositWithPermit, (5, none)));
        if (move == 2) return (address(vault), abi.encodeCall(IStakeVault.withdraw, (5, address(attacker))));
        if (move == 3) return (address(vault), abi.encodeCall(IStakeVault.collect, (address(attacker))));
        if (move == 4) return (address(market), abi.encodeCall(IJobMarket.post, (terms(), escrow)));
        return (address(market), abi.encodeCall(IJobMarket.postWithPermit, (terms(), escrow, none)));
    }

    function _wealth() private view returns (uint256) {
        address a = address(attacker);
        (,, uint256 escrows,,) = vault.totals(); // every job is its own
        return hook.balanceOf(a) + vault.freeOf(a) + vault.lockedOf(a) + vault.creditOf(a) + escrows;
    }

    function _do(address target, bytes memory data) private {
        attacker.execute(target, data);
    }

    function _listEntries() private {
        Permit memory none;
        Outcome memory outcome;
        address me = address(attacker);
        toMarket.push(abi.encodeCall(IJobMarket.post, (terms(), escrow)));
        toMarket.push(abi.encodeCall(IJobMarket.postWithPermit, (terms(), escrow, none)));
        toMarket.push(abi.encodeCall(IJobMarket.advance, (job)));
        toMarket.push(abi.encodeCall(IJobMarket.standing, (job)));
        toMarket.push(abi.encodeCall(IJobMarket.stop, (job)));
        toMarket.push(abi.encodeCall(IJobMarket.accept, (job, me)));
        toMarket.push(abi.encodeCall(IJobMarket.join, (job, me, 1)));
        toMarket.push(abi.encodeCall(IJobMarket.enrol, (me, 1)));
        toMarket.push(abi.encodeCall(IJobMarket.leave, (job, 0)));
        toMarket.push(abi.encodeCall(IJobMarket.drop, (job, 0, 0)));
        toMarket.push(abi.encodeCall(IJobMarket.retire, (0)));
        toMarket.push(abi.encodeCall(IJobMarket.release, (0)));
        toMarket.push(abi.encodeCall(IJobMarket.sealTasks, (job, 0, 0, oneSeal(0, bytes32(uint256(1))))));
        toMarket.push(abi.encodeCall(IJobMarket.sealCheck, (job, 0, 0, 0, bytes32(uint256(1)))));
        toMarket.push(abi.encodeCall(IJobMarket.gather, (job, 0, 0, 1)));
        toMarket.push(abi.encodeCall(IJobMarket.challenge, (job, 0, 0, me, bytes32(uint256(1)))));
        toMarket.push(abi.encodeCall(IJobMarket.sealPanel, (job, 0, 0, 0, bytes32(uint256(1)))));
        toMarket.push(abi.encodeCall(IJobMarket.sealUpdate, (job, 0, bytes32(uint256(1)))));
        toMarket.push(abi.encodeCall(IJobMarket.sealUpdateCheck, (job, 0, 0, 0, bytes32(uint256(1)))));
        toMarket.push(abi.encodeCall(IJobMarket.sealSuccession, (job, 0, 0, bytes32(uint256(1)))));
        toMarket.push(abi.encodeCall(IJobMarket.claim, (job, 0, 0, 0)));
        toMarket.push(abi.encodeCall(IJobMarket.pass, (job, 0, Stage.Check, 0, 0, 0)));
        toMarket.push(abi.encodeCall(IJobMarket.open, (job, 0, oneOpening(Stage.Work, 0, 0, outcome, 0))));
        toMarket.push(abi.encodeCall(IJobMarket.openPanel, (job, 0, 0, 0, 0, 0, 0, 0)));
        bytes[] memory acts = new bytes[](2);
        (acts[0], acts[1]) = (toMarket[2], toMarket[0]); // advance, post
        toMarket.push(abi.encodeCall(Multicall.multicall, (acts)));
        toVault.push(abi.encodeCall(IStakeVault.deposit, (1)));
        toVault.push(abi.encodeCall(IStakeVault.depositWithPermit, (1, none)));
        toVault.push(abi.encodeCall(IStakeVault.withdraw, (1, me)));
        toVault.push(abi.encodeCall(IStakeVault.collect, (me)));
        toVault.push(abi.encodeCall(IStakeVault.authorise, (me, 7)));
        toVault.push(abi.encodeCall(IStakeVault.cancelAuthorisation, (me)));
        toVault.push(abi.encodeCall(IStakeVault.authoriseBySignature, (me, me, 1, 0, type(uint256).max, "")));
        toVault.push(abi.encodeCall(IStakeVault.fund, (job, me, 1)));
        toVault.push(abi.encodeCall(IStakeVault.lock, (me, me, 1)));
        toVault.push(abi.encodeCall(IStakeVault.unlock, (me, me, 1)));
        toVault.push(abi.encodeCall(IStakeVault.slash, (job, me, me, 1)));
        toVault.push(abi.encodeCall(IStakeVault.credit, (job, me, 1)));
        toVault.push(abi.encodeCall(IStakeVault.burn, (job, 1)));
    }
}
