// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {JobMarket} from "../src/JobMarket.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {JobId, Permit, Terms} from "../src/types/Types.sol";
import {Deployed} from "./support/Deployed.sol";
import {PhantomToken, PlainToken} from "./support/Tokens.sol";
import {Typed} from "./support/Typed.sol";
import {vm} from "./support/Vm.sol";

/// @notice Depositing and posting in one transaction; a permit that fails changes nothing.
contract PermitTest is Deployed {
    uint256 private constant KEY = 0xBEE;
    uint256 private constant NOW = 1_800_000_000;
    address private account;
    uint256 private escrow;

    function setUp() public {
        vm.warp(NOW);
        deploy(0, 0);
        account = vm.addr(KEY);
        token.transfer(account, 1e20);
        escrow = market.requiredEscrow(terms());
    }

    function test_deposit_needsNoApproval() public {
        Permit memory p = _permit(500);
        vm.prank(account);
        vault.depositWithPermit(500, p);
        assertEq(vault.freeOf(account), 500, "free");
        assertEq(token.allowance(account, address(vault)), 0, "nothing is left of the allowance");
    }

    function test_post_needsNoApproval() public {
        Permit memory p = _permit(escrow);
        vm.prank(account);
        job = market.postWithPermit(terms(), escrow, p);
        assertEq(vault.escrowOf(job), escrow, "escrow");
        assertEq(market.jobOf(job).requester, account, "requester");
        assertEq(token.allowance(account, address(vault)), 0, "nothing is left of the allowance");
    }

    function test_permitThatSomebodySentBefore_blocksNothing() public {
        Permit memory p = _permit(escrow);
        token.permit(account, address(vault), escrow, p.deadline, p.v, p.r, p.s);
        vm.expectRevert(); // by itself it is used up
        token.permit(account, address(vault), escrow, p.deadline, p.v, p.r, p.s);
        vm.prank(account);
        job = market.postWithPermit(terms(), escrow, p);
        assertEq(vault.escrowOf(job), escrow, "escrow");
        p = _permit(500);
        token.permit(account, address(vault), 500, p.deadline, p.v, p.r, p.s);
        vm.prank(account);
        vault.depositWithPermit(500, p);
        assertEq(vault.freeOf(account), 500, "free");
    }

    function test_badPermit_withAnAllowance_isIgnored() public {
        Permit memory p = _permit(500);
        p.deadline = NOW - 1;
        vm.startPrank(account);
        token.approve(address(vault), 500 + escrow);
        vault.depositWithPermit(500, p);
        market.postWithPermit(terms(), escrow, p);
        vm.stopPrank();
        assertEq(vault.freeOf(account), 500, "free");
    }

    function test_badPermit_withoutAllowance_theTransferDecides() public {
        Permit memory p = _permit(499);
        bytes memory refused =
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 0, 500);
        vm.startPrank(account);
        vm.expectRevert(refused);
        vault.depositWithPermit(500, p);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 0, escrow)
        );
        market.postWithPermit(terms(), escrow, p);
        vm.stopPrank();
        assertEq(market.jobs(), 0, "no job without its escrow");
    }

    function test_permitOfAnother_paysForNobodyElse() public {
        Permit memory p = _permit(500);
        vm.expectRevert(); // the caller is the payer, and its own allowance is none
        vault.depositWithPermit(500, p);
        assertEq(token.balanceOf(account), 1e20, "untouched");
    }

    function test_post_withPermit_keepsTheTermsBounds() public {
        Terms memory t = terms();
        t.panel = 4;
        Permit memory p = _permit(escrow);
        vm.prank(account);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.BadTerm.selector, bytes32("panel"), 4, 5));
        market.postWithPermit(t, escrow, p);
        assertEq(token.nonces(account), 0, "the permit is not used up");
    }

    function test_tokenWithoutPermits_takesApprovals() public {
        _takesApprovals(address(new PlainToken(18)));
        _takesApprovals(address(new PhantomToken()));
    }

    function _takesApprovals(address plain) private {
        market = new JobMarket(plain, deploymentConfig());
        vault = StakeVault(market.VAULT());
        Permit memory p = Permit(NOW, 27, bytes32(uint256(1)), bytes32(uint256(1)));
        PlainToken(plain).transfer(account, 1e20);
        vm.startPrank(account);
        vm.expectRevert();
        vault.depositWithPermit(500, p);
        PlainToken(plain).approve(address(vault), 1_000 + 2 * escrow);
        vault.deposit(500);
        vault.depositWithPermit(500, p);
        market.post(terms(), escrow);
        JobId second = market.postWithPermit(terms(), escrow, p);
        vm.stopPrank();
        assertEq(vault.freeOf(account), 1_000, "free");
        assertEq(vault.escrowOf(second), escrow, "escrow");
    }

    function _permit(uint256 amount) private view returns (Permit memory) {
        return Typed.permit(address(token), KEY, address(vault), amount, NOW + 1 hours);
    }
}
