// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {NoncesKeyed} from "@openzeppelin/contracts/utils/NoncesKeyed.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IStakeVault} from "./interfaces/IStakeVault.sol";
import {Permits} from "./libraries/Permits.sol";
import {JobId, Permit} from "./types/Types.sol";

/// @title StakeVault: five ledgers over one token, and nothing else.
/// @notice Knows no phases and no rules; the market decides, the vault only refuses to overdraw a ledger.
contract StakeVault is IStakeVault, EIP712, NoncesKeyed, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    // Two sums that change together share a word; `_pull` keeps all of them below 2**128.
    struct Bond {
        uint128 free;
        uint128 locked;
    }

    struct Allowance {
        uint128 limit;
        uint128 locked;
    }

    struct Pay {
        uint128 escrows;
        uint128 credits;
    }

    bytes32 private constant AUTHORISATION =
        keccak256("Authorisation(address provider,address operator,uint256 limit,uint256 nonce,uint256 deadline)");

    /// @inheritdoc IStakeVault
    address public immutable TOKEN;
    /// @inheritdoc IStakeVault
    address public immutable MARKET;

    /// @inheritdoc IStakeVault
    mapping(address account => uint256) public creditOf;
    /// @inheritdoc IStakeVault
    mapping(JobId job => uint256) public escrowOf;

    mapping(address provider => Bond) private _bonds;
    mapping(address provider => mapping(address operator => Allowance)) private _allowances;
    Bond private _bond; // of all providers together
    Pay private _pay; // of all jobs and accounts together
    uint256 private _burnt;

    /// @param token ERC-20 without fees on transfer and without rebasing
    /// @param market the one contract that may move money between ledgers; it makes its vault in its own constructor
    constructor(address token, address market) EIP712("gradproof StakeVault", "1") {
        // INVARIANT: both ends of the wiring exist for ever.
        if (market == address(0)) revert ZeroAddress();
        if (token.code.length == 0) revert NotAToken(token);
        TOKEN = token;
        MARKET = market;
    }

    modifier onlyMarket() {
        // INVARIANT: only the market moves money between ledgers.
        if (msg.sender != MARKET) revert OnlyMarket(msg.sender);
        _;
    }

    // --- owners ---

    /// @inheritdoc IStakeVault
    function deposit(uint256 amount) external nonReentrant {
        _deposit(amount);
    }

    /// @inheritdoc IStakeVault
    function depositWithPermit(uint256 amount, Permit calldata permit) external nonReentrant {
        Permits.tryPermit(TOKEN, address(this), amount, permit);
        _deposit(amount);
    }

    /// @inheritdoc IStakeVault
    function withdraw(uint256 amount, address to) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        if (to == address(0)) revert ZeroAddress();
        // INVARIANT: only free bond leaves.
        uint256 free = _bonds[msg.sender].free;
        if (free < amount) revert InsufficientFree(msg.sender, free, amount);
        _bonds[msg.sender].free = uint128(free - amount);
        _bond.free = uint128(_bond.free - amount);
        emit Withdrawn(msg.sender, to, amount);
        _push(to, amount);
    }

    /// @inheritdoc IStakeVault
    function authorise(address operator, uint256 limit) external {
        // INVARIANT: an owner's last word counts: what it signed before and nobody sent yet is void.
        _useNonce(msg.sender, _keyOf(operator));
        _authorise(msg.sender, operator, limit);
    }

    /// @inheritdoc IStakeVault
    function authoriseBySignature(
        address provider,
        address operator,
        uint256 limit,
        uint64 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external {
        if (block.timestamp > deadline) revert AuthorisationExpired(deadline, block.timestamp);
        // INVARIANT: a signature is used once, for one operator, on one chain, in one vault.
        _useCheckedNonce(provider, _keyOf(operator), nonce);
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(AUTHORISATION, provider, operator, limit, nonce, deadline)));
        if (!SignatureChecker.isValidSignatureNowCalldata(provider, digest, signature)) {
            revert BadSignature(provider, digest);
        }
        _authorise(provider, operator, limit);
    }

    /// @inheritdoc IStakeVault
    function cancelAuthorisation(address operator) external {
        _useNonce(msg.sender, _keyOf(operator));
        emit AuthorisationCancelled(msg.sender, operator, authorisationNonce(msg.sender, operator));
    }

    /// @inheritdoc IStakeVault
    function collect(address to) external nonReentrant returns (uint256 amount) {
        if (to == address(0)) revert ZeroAddress();
        amount = creditOf[msg.sender];
        // INVARIANT: a credit is paid once, to its account's choice.
        if (amount == 0) revert NothingToCollect(msg.sender);
        creditOf[msg.sender] = 0;
        _pay.credits = uint128(_pay.credits - amount);
        emit Collected(msg.sender, to, amount);
        _push(to, amount);
    }

    // --- the market ---

    /// @inheritdoc IStakeVault
    function fund(JobId job, address payer, uint256 amount) external onlyMarket nonReentrant {
        if (amount == 0) revert ZeroAmount();
        _pull(payer, amount);
        _addEscrow(job, amount);
    }

    /// @inheritdoc IStakeVault
    function lock(address provider, address operator, uint256 amount) external onlyMarket {
        // INVARIANT: no bond backs two seals: what is locked is no longer free.
        Bond memory own = _bonds[provider];
        if (own.free < amount) revert InsufficientFree(provider, own.free, amount);
        // INVARIANT: a hot key binds at most what its owner allows.
        Allowance memory allowance = _allowances[provider][operator];
        if (allowance.locked + amount > allowance.limit) {
            revert OperatorLimit(provider, operator, allowance.limit, allowance.locked, amount);
        }
        _allowances[provider][operator].locked = uint128(allowance.locked + amount);
        _bonds[provider] = Bond(uint128(own.free - amount), uint128(own.locked + amount));
        Bond memory all = _bond;
        _bond = Bond(uint128(all.free - amount), uint128(all.locked + amount));
        emit Locked(provider, operator, amount);
    }

    /// @inheritdoc IStakeVault
    function unlock(address provider, address operator, uint256 amount) external onlyMarket {
        _takeLocked(provider, operator, amount, amount);
        emit Unlocked(provider, operator, amount);
    }

    /// @inheritdoc IStakeVault
    function slash(JobId job, address provider, address operator, uint256 amount) external onlyMarket {
        _takeLocked(provider, operator, amount, 0);
        _addEscrow(job, amount);
    }

    /// @inheritdoc IStakeVault
    function credit(JobId job, address account, uint256 amount) external onlyMarket {
        _takeEscrow(job, amount, amount);
        creditOf[account] += amount;
    }

    /// @inheritdoc IStakeVault
    function burn(JobId job, uint256 amount) external onlyMarket {
        _takeEscrow(job, amount, 0);
        _burnt += amount;
    }

    // --- views ---

    /// @inheritdoc IStakeVault
    function freeOf(address provider) external view returns (uint256) {
        return _bonds[provider].free;
    }

    /// @inheritdoc IStakeVault
    function lockedOf(address provider) external view returns (uint256) {
        return _bonds[provider].locked;
    }

    /// @inheritdoc IStakeVault
    function operatorOf(address provider, address operator) external view returns (uint256 limit, uint256 locked) {
        Allowance storage allowance = _allowances[provider][operator];
        return (allowance.limit, allowance.locked);
    }

    /// @inheritdoc IStakeVault
    function authorisationNonce(address provider, address operator) public view returns (uint64) {
        return uint64(nonces(provider, _keyOf(operator))); // without the key, which stands above
    }

    /// @inheritdoc IStakeVault
    function totals()
        external
        view
        returns (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 burnt)
    {
        return (_bond.free, _bond.locked, _pay.escrows, _pay.credits, _burnt);
    }

    // --- inside ---

    function _deposit(uint256 amount) private {
        // INVARIANT: a ledger grows by what the vault received, never by a promise.
        if (amount == 0) revert ZeroAmount();
        _pull(msg.sender, amount);
        _bonds[msg.sender].free += uint128(amount);
        _bond.free += uint128(amount);
        emit Deposited(msg.sender, amount);
    }

    function _pull(address payer, uint256 amount) private {
        // INVARIANT: every sum fits into half a word, since all the money of the vault together does.
        uint256 held = uint256(_bond.free) + _bond.locked + _pay.escrows + _pay.credits + _burnt;
        if (amount > type(uint128).max - held) revert VaultFull(held, amount);
        uint256 before = IERC20(TOKEN).balanceOf(address(this));
        IERC20(TOKEN).safeTransferFrom(payer, address(this), amount);
        uint256 received = IERC20(TOKEN).balanceOf(address(this)) - before;
        // INVARIANT: balance = the sum of the ledgers.
        if (received != amount) revert TokenTakesFee(amount, received);
    }

    function _push(address to, uint256 amount) private {
        uint256 before = IERC20(TOKEN).balanceOf(address(this));
        IERC20(TOKEN).safeTransfer(to, amount);
        uint256 taken = before - IERC20(TOKEN).balanceOf(address(this));
        // INVARIANT: whoever takes its money out takes nothing of anybody else's, whatever the token charges.
        if (taken > amount) revert TokenTakesFee(amount, taken);
    }

    function _authorise(address provider, address operator, uint256 limit) private {
        if (operator == address(0)) revert ZeroAddress();
        // More than the vault can hold is no limit.
        _allowances[provider][operator].limit = uint128(Math.min(limit, type(uint128).max));
        emit OperatorAuthorised(provider, operator, limit);
    }

    /// @dev Each operator has nonces of its own, so that the hot keys of one owner need not wait for each other.
    function _keyOf(address operator) private pure returns (uint192) {
        return uint192(uint160(operator));
    }

    /// @dev Takes locked bond; `freed` of it is free again.
    function _takeLocked(address provider, address operator, uint256 amount, uint256 freed) private {
        Allowance storage allowance = _allowances[provider][operator];
        allowance.locked = uint128(allowance.locked - amount);
        Bond memory own = _bonds[provider];
        _bonds[provider] = Bond(uint128(own.free + freed), uint128(own.locked - amount));
        Bond memory all = _bond;
        _bond = Bond(uint128(all.free + freed), uint128(all.locked - amount));
    }

    function _addEscrow(JobId job, uint256 amount) private {
        escrowOf[job] += amount;
        _pay.escrows += uint128(amount);
    }

    /// @dev Takes from the ledger of a job; `credited` of it is an account's now.
    function _takeEscrow(JobId job, uint256 amount, uint256 credited) private {
        // INVARIANT: no call takes more out of a job than its own ledger holds.
        uint256 escrow = escrowOf[job];
        if (escrow < amount) revert InsufficientEscrow(job, escrow, amount);
        escrowOf[job] = escrow - amount;
        Pay memory all = _pay;
        _pay = Pay(uint128(all.escrows - amount), uint128(all.credits + credited));
    }
}
