// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {DevToken} from "../src/dev/DevToken.sol";
import {JobId} from "../src/types/Types.sol";
import {Assertions} from "./support/Assertions.sol";
import {vm} from "./support/Vm.sol";

/// @notice The vault alone; this contract plays the market.
contract StakeVaultTest is Assertions {
    JobId private constant JOB = JobId.wrap(7);
    address private constant HOT = address(0x407);
    DevToken private token;
    StakeVault private vault;
    address private owner = address(0xC01D);

    function setUp() public {
        token = new DevToken(address(this), 1e24);
        vault = new StakeVault(address(token), address(this));
        token.transfer(owner, 10_000);
        vm.startPrank(owner);
        token.approve(address(vault), type(uint256).max);
        vault.deposit(1_000);
        vault.authorise(HOT, 600);
        vm.stopPrank();
    }

    function test_wiring_isChecked() public {
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.NotAToken.selector, address(0)));
        new StakeVault(address(0), address(this));
        vm.expectRevert(IStakeVault.ZeroAddress.selector);
        new StakeVault(address(token), address(0));
    }

    function test_withdraw_takesFreeBondOnly() public {
        vault.lock(owner, HOT, 600);
        vm.startPrank(owner);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InsufficientFree.selector, owner, 400, 401));
        vault.withdraw(401, owner);
        vm.expectRevert(IStakeVault.ZeroAmount.selector);
        vault.withdraw(0, owner);
        vm.expectRevert(IStakeVault.ZeroAddress.selector);
        vault.withdraw(1, address(0));
        vault.withdraw(400, address(0xD00));
        vm.stopPrank();
        assertEq(token.balanceOf(address(0xD00)), 400, "paid to the address the owner named");
    }

    function test_vault_holdsLessThan128BitsOfMoney_andLimitsEndThere() public {
        uint256 most = type(uint128).max;
        token = new DevToken(address(this), most + 1);
        vault = new StakeVault(address(token), address(this));
        token.approve(address(vault), most + 1);
        vault.fund(JOB, address(this), most - 1);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.VaultFull.selector, most - 1, 2));
        vault.deposit(2);
        vault.deposit(1);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.VaultFull.selector, most, 1));
        vault.fund(JOB, address(this), 1);
        vault.authorise(HOT, type(uint256).max);
        (uint256 limit,) = vault.operatorOf(address(this), HOT);
        assertEq(limit, most, "a limit above all money is none");
        vault.credit(JOB, owner, most - 1);
        assertEq(vault.creditOf(owner), most - 1, "all of it");
    }

    function test_lock_stopsAtTheOperatorsLimit() public {
        vault.lock(owner, HOT, 500);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.OperatorLimit.selector, owner, HOT, 600, 500, 101));
        vault.lock(owner, HOT, 101);
        vault.unlock(owner, HOT, 500);
        vault.lock(owner, HOT, 600);
    }

    function test_lock_stopsAtTheFreeBond() public {
        vm.prank(owner);
        vault.authorise(HOT, 5_000);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InsufficientFree.selector, owner, 1_000, 1_001));
        vault.lock(owner, HOT, 1_001);
    }

    function test_revokedOperator_locksNothing_butItsBondsComeBack() public {
        vault.lock(owner, HOT, 100);
        vm.prank(owner);
        vault.authorise(HOT, 0);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.OperatorLimit.selector, owner, HOT, 0, 100, 1));
        vault.lock(owner, HOT, 1);
        vault.unlock(owner, HOT, 100);
        assertEq(vault.freeOf(owner), 1_000, "free");
    }

    function test_ledgers_moveOnlyByTheMarket() public {
        bytes memory refused = abi.encodeWithSelector(IStakeVault.OnlyMarket.selector, HOT);
        vm.startPrank(HOT);
        vm.expectRevert(refused);
        vault.fund(JOB, owner, 1);
        vm.expectRevert(refused);
        vault.lock(owner, HOT, 1);
        vm.expectRevert(refused);
        vault.unlock(owner, HOT, 1);
        vm.expectRevert(refused);
        vault.slash(JOB, owner, HOT, 1);
        vm.expectRevert(refused);
        vault.credit(JOB, HOT, 1);
        vm.expectRevert(refused);
        vault.burn(JOB, 1);
        vm.stopPrank();
    }

    function test_job_neverPaysMoreThanItsLedger() public {
        vault.fund(JOB, owner, 50);
        vault.fund(JobId.wrap(8), owner, 50);
        vault.credit(JOB, HOT, 30);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InsufficientEscrow.selector, JOB, 20, 21));
        vault.credit(JOB, HOT, 21);
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.InsufficientEscrow.selector, JOB, 20, 21));
        vault.burn(JOB, 21);
    }

    function test_slash_takesLockedBondOnly() public {
        vault.lock(owner, HOT, 100);
        vm.expectRevert();
        vault.slash(JOB, owner, HOT, 101);
        vault.slash(JOB, owner, HOT, 60);
        assertEq(vault.escrowOf(JOB), 60, "in the job's ledger");
        assertEq(vault.lockedOf(owner), 40, "locked");
        (, uint256 held) = vault.operatorOf(owner, HOT);
        assertEq(held, 40, "held by the operator");
    }

    function test_unlock_ofAnotherOperatorsBond_isRefused() public {
        vault.lock(owner, HOT, 100);
        vm.expectRevert();
        vault.unlock(owner, address(0xE), 100);
    }

    function test_credit_isCollectedOnce_toAnyAddress() public {
        vault.fund(JOB, owner, 50);
        vault.credit(JOB, HOT, 50);
        vm.startPrank(HOT);
        assertEq(vault.collect(address(0xD00)), 50, "collected");
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.NothingToCollect.selector, HOT));
        vault.collect(address(0xD00));
        vm.stopPrank();
        assertEq(token.balanceOf(address(0xD00)), 50, "received");
    }

    /// @notice Any sequence of moves keeps the balance identity, and the parts sum up.
    function testFuzz_moves_keepTheBooks(uint256[16] calldata moves) public {
        vault.fund(JOB, owner, 1_000);
        for (uint256 i = 0; i < moves.length; ++i) {
            uint256 amount = clamp(moves[i] >> 8, 1, 300);
            _move(moves[i] % 7, amount);
            (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 gone) = vault.totals();
            assertEq(token.balanceOf(address(vault)), free + locked + escrows + credits + gone, "identity");
            assertEq(vault.freeOf(owner), free, "free");
            assertEq(vault.lockedOf(owner), locked, "locked");
            assertEq(vault.escrowOf(JOB), escrows, "escrow");
            assertEq(vault.creditOf(HOT), credits, "credits");
        }
    }

    function _move(uint256 kind, uint256 amount) private {
        (, uint256 held) = vault.operatorOf(owner, HOT);
        if (kind == 0 && amount + held <= 600 && amount <= vault.freeOf(owner)) vault.lock(owner, HOT, amount);
        if (kind == 1 && amount <= held) vault.unlock(owner, HOT, amount);
        if (kind == 2 && amount <= held) vault.slash(JOB, owner, HOT, amount);
        if (kind == 3 && amount <= vault.escrowOf(JOB)) vault.credit(JOB, HOT, amount);
        if (kind == 4 && amount <= vault.escrowOf(JOB)) vault.burn(JOB, amount);
        if (kind == 5 && vault.creditOf(HOT) != 0) {
            vm.prank(HOT);
            vault.collect(HOT);
        }
        if (kind == 6 && amount <= vault.freeOf(owner)) {
            vm.prank(owner);
            vault.withdraw(amount, owner);
        }
    }
}
