// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {IStakeVault} from "../src/interfaces/IStakeVault.sol";
import {StakeVault} from "../src/StakeVault.sol";
import {DevToken} from "../src/dev/DevToken.sol";
import {JobId} from "../src/types/Types.sol";
import {Assertions} from "./support/Assertions.sol";
import {ContractWallet} from "./support/ContractWallet.sol";
import {Typed} from "./support/Typed.sol";
import {vm} from "./support/Vm.sol";

/// @notice Operators that an owner authorises by a signature, and owners that are contracts. This contract plays the market.
contract AuthorisationTest is Assertions {
    uint256 private constant KEY = 0xC01D;
    uint256 private constant NOW = 1_800_000_000;
    address private constant HOT = address(0x407);
    address private constant OTHER = address(0x408);

    DevToken private token;
    StakeVault private vault;
    address private owner;

    function setUp() public {
        vm.warp(NOW);
        token = new DevToken(address(this), 1e24);
        vault = new StakeVault(address(token), address(this));
        owner = vm.addr(KEY);
        token.transfer(owner, 1_000);
        vm.startPrank(owner);
        token.approve(address(vault), 1_000);
        vault.deposit(1_000);
        vm.stopPrank();
    }

    // --- an account ---

    function test_signature_authorises_whoeverSendsIt() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        _send(HOT, a, _signed(KEY, a));
        assertEq(_limit(owner, HOT), 600, "limit");
        assertEq(vault.authorisationNonce(owner, HOT), 1, "nonce");
        vault.lock(owner, HOT, 600);
    }

    function test_signature_worksOnce() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        bytes memory signature = _signed(KEY, a);
        _send(HOT, a, signature);
        _refused(a, signature, _badNonce(HOT, 1));
        vm.prank(owner);
        vault.authorise(HOT, 0);
        _refused(a, signature, _badNonce(HOT, 2));
        assertEq(_limit(owner, HOT), 0, "a replay would have undone the revocation");
    }

    function test_signature_ofAnotherNonce_isRefused() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        a.nonce = 1;
        _refused(a, _signed(KEY, a), _badNonce(HOT, 0));
    }

    function test_signature_expires_afterItsDeadline() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        bytes memory signature = _signed(KEY, a);
        vm.warp(a.deadline + 1);
        _refused(
            a, signature, abi.encodeWithSelector(IStakeVault.AuthorisationExpired.selector, a.deadline, a.deadline + 1)
        );
        vm.warp(a.deadline);
        _send(HOT, a, signature);
    }

    function test_signature_forAnotherChainOrVault_isRefused() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        bytes memory signature = _signed(KEY, a);
        StakeVault second = new StakeVault(address(token), address(this));
        vm.expectRevert(
            abi.encodeWithSelector(IStakeVault.BadSignature.selector, owner, Typed.digest(address(second), a))
        );
        second.authoriseBySignature(owner, HOT, 600, 0, a.deadline, signature);
        vm.chainId(1);
        _refused(a, signature, _bad(a));
        vm.chainId(31_337);
        _send(HOT, a, signature);
    }

    function test_signature_ofAnybodyElse_orOverOtherValues_isRefused() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        _refused(a, _signed(KEY + 1, a), _bad(a));
        bytes memory signature = _signed(KEY, a);
        a.limit = 601;
        _refused(a, signature, _bad(a));
        a = _authorisation(owner, OTHER, 600);
        _refused(a, signature, _bad(a));
        a = _authorisation(owner, HOT, 600);
        a.deadline += 1;
        _refused(a, signature, _bad(a));
        a = _authorisation(vm.addr(KEY + 1), HOT, 600);
        _refused(a, signature, _bad(a));
        a = _authorisation(owner, HOT, 600);
        _refused(a, "", _bad(a));
        _refused(a, new bytes(65), _bad(a));
    }

    /// @notice The mirror image of a signature, (v', r, n - s), recovers to the same account and must not count.
    function test_signature_isNotMalleable() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, Typed.digest(address(vault), a));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes memory mirrored = abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        _refused(a, mirrored, _bad(a));
    }

    function test_zeroOperator_isRefused_signedOrNot() public {
        Typed.Authorisation memory a = _authorisation(owner, address(0), 600);
        _refused(a, _signed(KEY, a), abi.encodeWithSelector(IStakeVault.ZeroAddress.selector));
        vm.prank(owner);
        vm.expectRevert(IStakeVault.ZeroAddress.selector);
        vault.authorise(address(0), 1);
    }

    // --- the owner's last word ---

    function test_cancelled_isVoid_andTheLimitStays() public {
        vm.prank(owner);
        vault.authorise(HOT, 300);
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        bytes memory signature = _signed(KEY, a);
        vm.prank(owner);
        vault.cancelAuthorisation(HOT);
        _refused(a, signature, _badNonce(HOT, 2));
        assertEq(_limit(owner, HOT), 300, "limit");
    }

    function test_directRevocation_voidsWhatWasSignedBefore() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        bytes memory signature = _signed(KEY, a);
        vm.prank(owner);
        vault.authorise(HOT, 0);
        _refused(a, signature, _badNonce(HOT, 1));
    }

    function test_operators_haveNoncesOfTheirOwn() public {
        Typed.Authorisation memory a = _authorisation(owner, HOT, 600);
        Typed.Authorisation memory b = _authorisation(owner, OTHER, 100);
        bytes memory first = _signed(KEY, a);
        bytes memory second = _signed(KEY, b);
        _send(OTHER, b, second);
        _send(HOT, a, first);
        assertEq(_limit(owner, HOT) + _limit(owner, OTHER), 700, "limits");
    }

    function test_signedLimitZero_revokes() public {
        vm.prank(owner);
        vault.authorise(HOT, 600);
        vault.lock(owner, HOT, 100);
        Typed.Authorisation memory a = _authorisation(owner, HOT, 0);
        _send(OTHER, a, _signed(KEY, a));
        vm.expectRevert(abi.encodeWithSelector(IStakeVault.OperatorLimit.selector, owner, HOT, 0, 100, 1));
        vault.lock(owner, HOT, 1);
        vault.unlock(owner, HOT, 100);
        assertEq(vault.freeOf(owner), 1_000, "what it bound comes back");
    }

    // --- an owner that is a contract ---

    function test_contractWallet_isAnOwnerInEveryRespect() public {
        ContractWallet wallet = new ContractWallet(owner);
        token.transfer(address(wallet), 500);
        vm.startPrank(owner);
        wallet.execute(address(token), abi.encodeCall(token.approve, (address(vault), 500)));
        wallet.execute(address(vault), abi.encodeCall(vault.deposit, (500)));
        wallet.execute(address(vault), abi.encodeCall(vault.authorise, (OTHER, 50)));
        vm.stopPrank();
        Typed.Authorisation memory a = _authorisation(address(wallet), HOT, 400);
        _send(HOT, a, _signed(KEY, a));
        vault.lock(address(wallet), HOT, 400);
        vault.lock(address(wallet), OTHER, 50);
        vault.slash(JobId.wrap(1), address(wallet), OTHER, 50);
        vault.credit(JobId.wrap(1), address(wallet), 50);
        vault.unlock(address(wallet), HOT, 400);
        vm.startPrank(owner);
        wallet.execute(address(vault), abi.encodeCall(vault.withdraw, (450, address(0xD00))));
        wallet.execute(address(vault), abi.encodeCall(vault.collect, (address(0xD01))));
        vm.stopPrank();
        assertEq(token.balanceOf(address(0xD00)), 450, "withdrawn");
        assertEq(token.balanceOf(address(0xD01)), 50, "collected");
    }

    function test_contractWallet_refusesWhatItsKeyDidNotSign() public {
        ContractWallet wallet = new ContractWallet(owner);
        Typed.Authorisation memory a = _authorisation(address(wallet), HOT, 400);
        _refused(a, _signed(KEY + 1, a), _bad(a));
        bytes memory signature = _signed(KEY, a);
        _send(HOT, a, signature);
        vm.expectRevert(abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, address(wallet), _packed(HOT, 1)));
        _send(HOT, a, signature);
    }

    function test_contractWithoutERC1271_authorisesOnlyByCalling() public {
        Typed.Authorisation memory a = _authorisation(address(token), HOT, 400);
        _refused(a, _signed(KEY, a), _bad(a));
    }

    // --- inside ---

    function _authorisation(address provider, address operator, uint256 limit)
        private
        view
        returns (Typed.Authorisation memory)
    {
        uint64 nonce = vault.authorisationNonce(provider, operator);
        return Typed.Authorisation(provider, operator, limit, nonce, NOW + 1 hours);
    }

    function _signed(uint256 key, Typed.Authorisation memory a) private view returns (bytes memory) {
        return Typed.sign(key, Typed.digest(address(vault), a));
    }

    function _send(address sender, Typed.Authorisation memory a, bytes memory signature) private {
        vm.prank(sender);
        vault.authoriseBySignature(a.provider, a.operator, a.limit, a.nonce, a.deadline, signature);
    }

    function _refused(Typed.Authorisation memory a, bytes memory signature, bytes memory why) private {
        vm.expectRevert(why);
        vault.authoriseBySignature(a.provider, a.operator, a.limit, a.nonce, a.deadline, signature);
    }

    function _bad(Typed.Authorisation memory a) private view returns (bytes memory) {
        return abi.encodeWithSelector(IStakeVault.BadSignature.selector, a.provider, Typed.digest(address(vault), a));
    }

    function _badNonce(address operator, uint64 wanted) private view returns (bytes memory) {
        return abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, owner, _packed(operator, wanted));
    }

    /// @dev OpenZeppelin's keyed nonces: the operator, then 64 bits of nonce.
    function _packed(address operator, uint64 nonce) private pure returns (uint256) {
        return (uint256(uint160(operator)) << 64) | nonce;
    }

    function _limit(address provider, address operator) private view returns (uint256 limit) {
        (limit,) = vault.operatorOf(provider, operator);
    }
}
