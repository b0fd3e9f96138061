// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {JobMarket} from "../src/JobMarket.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {JobId} from "../src/types/Types.sol";
import {Deployed} from "./support/Deployed.sol";
import {
    BlockingToken,
    FalseToken,
    FeeToken,
    NoReturnToken,
    PlainToken,
    ShrinkingToken,
    SixToken
} from "./support/Tokens.sol";
import {vm} from "./support/Vm.sol";

/// @notice Markets over tokens that are not like the dev token: what works, what is refused, and who is never hurt.
contract TokensTest is Deployed {
    using SafeERC20 for IERC20;

    address private constant PAYEE = address(0xD00);
    uint256 private constant STAKE = 10_000;
    IERC20 private coin;
    address private second = address(0xB0B);

    // --- tokens that work ---

    function test_life_withTokensOfAnyDecimals() public {
        _life(address(new PlainToken(6)));
        _life(address(new PlainToken(18)));
        _life(address(new SixToken()));
    }

    function test_life_withATokenThatReturnsNothing() public {
        _life(address(new NoReturnToken()));
    }

    // --- fees ---

    function test_feeOnWhatArrives_isRefusedAtTheFirstDeposit() public {
        _market(address(new FeeToken(FeeToken.Fee.FromReceiver)));
        coin.approve(address(vault), 2_000_000);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.TokenTakesFee.selector, 1_000, 990));
        vault.deposit(1_000);
        uint256 escrow = market.requiredEscrow(terms());
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.TokenTakesFee.selector, escrow, escrow - escrow / 100));
        market.post(terms(), escrow);
        assertEq(coin.balanceOf(address(vault)), 0, "nothing came in");
    }

    /// @notice A fee that is switched on later: nothing more comes in, what is in goes out, less what the token keeps.
    function test_feeSwitchedOn_stopsDeposits_notWithdrawals() public {
        FeeToken fee = new FeeToken(FeeToken.Fee.None);
        _market(address(fee));
        _stake(requester);
        fee.setFee(FeeToken.Fee.FromReceiver);
        vm.startPrank(requester);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.TokenTakesFee.selector, 100, 99));
        vault.deposit(100);
        vault.withdraw(STAKE, PAYEE);
        vm.stopPrank();
        assertEq(coin.balanceOf(PAYEE), STAKE - STAKE / 100, "less the token's fee");
        _assertIdentity();
    }

    /// @notice A fee on top would be paid by the other owners: it is refused, and nothing moves.
    function test_feeOnTop_ofWhatLeaves_isNotPaidByOthers() public {
        FeeToken fee = new FeeToken(FeeToken.Fee.None);
        _market(address(fee));
        _stake(requester);
        _stake(second);
        fee.setFee(FeeToken.Fee.FromSender);
        vm.startPrank(requester);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.TokenTakesFee.selector, 1_000, 1_010));
        vault.withdraw(1_000, PAYEE);
        vm.stopPrank();
        _assertIdentity();
        fee.setFee(FeeToken.Fee.None);
        _leave(requester);
        _leave(second);
    }

    // --- refusals ---

    function test_falseInsteadOfARevert_isARevert() public {
        FalseToken lazy = new FalseToken();
        _market(address(lazy));
        _stake(requester);
        lazy.setDry(true);
        bytes memory refused = abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(lazy));
        vm.startPrank(requester);
        vm.expectRevert(refused);
        vault.deposit(100);
        vm.expectRevert(refused);
        vault.withdraw(100, PAYEE);
        vm.stopPrank();
        assertEq(vault.freeOf(requester), STAKE, "free");
        lazy.setDry(false);
        _leave(requester);
    }

    function test_blockedPayee_namesAnotherAddress_othersAreNotHeldUp() public {
        BlockingToken blocking = new BlockingToken();
        _market(address(blocking));
        (JobId id, uint256 escrow) = _postAndStop();
        _stake(second);
        blocking.setBlocked(requester, true);
        vm.startPrank(requester);
        vm.expectRevert(abi.encodeWithSelector(BlockingToken.Blocked.selector, requester));
        vault.collect(requester);
        assertEq(vault.creditOf(requester), escrow, "the credit stands");
        vault.collect(PAYEE);
        vm.stopPrank();
        _leave(second);
        assertEq(coin.balanceOf(PAYEE), escrow + STAKE, "both are paid");
        assertEq(vault.escrowOf(id), 0, "escrow");
    }

    function test_blockedOwner_canStillWithdraw_elsewhere() public {
        BlockingToken blocking = new BlockingToken();
        _market(address(blocking));
        _stake(requester);
        blocking.setBlocked(requester, true);
        _leave(requester);
    }

    // --- what a market cannot mend ---

    /// @notice Where the token takes from the vault itself, who withdraws first is paid whole and the last one waits for what
    /// is missing: no ledger pays another's loss. This is why such a token must not be chosen.
    function test_shrinkingToken_firstComeFirstServed() public {
        ShrinkingToken shrinking = new ShrinkingToken();
        _market(address(shrinking));
        _stake(requester);
        _stake(second);
        shrinking.shrinkTo(80);
        _leave(requester);
        vm.startPrank(second);
        vm.expectRevert();
        vault.withdraw(STAKE, PAYEE);
        vault.withdraw(STAKE * 6 / 10, PAYEE);
        vm.stopPrank();
        shrinking.transfer(address(vault), STAKE * 4 / 10);
        vm.prank(second);
        vault.withdraw(STAKE * 4 / 10, PAYEE);
        assertEq(coin.balanceOf(PAYEE), 2 * STAKE, "all paid after the loss was made good");
    }

    function test_tokensSentWithoutACall_belongToNobody() public {
        _market(address(new PlainToken(18)));
        _stake(requester);
        coin.safeTransfer(address(vault), 77);
        vm.startPrank(requester);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InsufficientFree.selector, requester, STAKE, STAKE + 1));
        vault.withdraw(STAKE + 1, PAYEE);
        vault.withdraw(STAKE, PAYEE);
        vm.stopPrank();
        assertEq(coin.balanceOf(address(vault)), 77, "they stay");
    }

    function test_tokenWithoutCode_isRefusedAtDeployment() public {
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.NotAToken.selector, address(0xDEAD)));
        new JobMarket(address(0xDEAD), deploymentConfig());
    }

    // --- inside ---

    /// @dev Everything that moves the token: deposit, post, refund, collect, withdraw.
    function _life(address of_) private {
        _market(of_);
        uint256 before = coin.balanceOf(PAYEE);
        _stake(second);
        (JobId id, uint256 escrow) = _postAndStop();
        assertEq(vault.escrowOf(id), 0, "refunded");
        vm.prank(requester);
        assertEq(vault.collect(PAYEE), escrow, "collected");
        _leave(second);
        assertEq(coin.balanceOf(PAYEE) - before, escrow + STAKE, "all of it");
        assertEq(coin.balanceOf(address(vault)), 0, "nothing is left");
    }

    function _market(address of_) private {
        coin = IERC20(of_);
        beacon = newBeacon();
        market = new JobMarket(of_, deploymentConfig());
        vault = StakeVault(market.VAULT());
    }

    function _stake(address owner) private {
        coin.safeTransfer(owner, 2 * STAKE);
        vm.startPrank(owner);
        coin.forceApprove(address(vault), type(uint256).max);
        vault.deposit(STAKE);
        vm.stopPrank();
        _assertIdentity();
    }

    function _postAndStop() private returns (JobId id, uint256 escrow) {
        escrow = market.requiredEscrow(terms());
        coin.safeTransfer(requester, escrow);
        vm.startPrank(requester);
        coin.forceApprove(address(vault), escrow);
        id = market.post(terms(), escrow);
        assertEq(vault.escrowOf(id), escrow, "escrow");
        market.stop(id);
        vm.stopPrank();
        _assertIdentity();
    }

    function _leave(address owner) private {
        uint256 before = coin.balanceOf(PAYEE);
        vm.prank(owner);
        vault.withdraw(STAKE, PAYEE);
        assertEq(coin.balanceOf(PAYEE) - before, STAKE, "withdrawn whole");
    }

    function _assertIdentity() private view {
        (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 gone) = vault.totals();
        assertEq(coin.balanceOf(address(vault)), free + locked + escrows + credits + gone, "balance identity");
    }
}
