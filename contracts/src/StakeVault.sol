// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IStakeVault} from "./interfaces/IStakeVault.sol";
import {JobId} from "./types/Types.sol";

/// @title StakeVault: five ledgers over one token, and nothing else.
/// @notice Knows no phases and no rules; the market decides, the vault only refuses to overdraw a ledger.
contract StakeVault is IStakeVault, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    struct Allowance {
        uint256 limit;
        uint256 locked;
    }

    /// @inheritdoc IStakeVault
    address public immutable TOKEN;
    /// @inheritdoc IStakeVault
    address public immutable MARKET;

    /// @inheritdoc IStakeVault
    mapping(address provider => uint256) public freeOf;
    /// @inheritdoc IStakeVault
    mapping(address provider => uint256) public lockedOf;
    /// @inheritdoc IStakeVault
    mapping(address account => uint256) public creditOf;
    /// @inheritdoc IStakeVault
    mapping(JobId job => uint256) public escrowOf;

    mapping(address provider => mapping(address operator => Allowance)) private _allowances;
    uint256 private _free;
    uint256 private _locked;
    uint256 private _escrows;
    uint256 private _credits;
    uint256 private _burnt;

    /// @param token ERC-20 without fees on transfer and without rebasing
    /// @param market the one contract that may move money between ledgers, deployed right after this one
    constructor(address token, address market) {
        // INVARIANT: both ends of the wiring exist for ever.
        if (token == address(0) || market == address(0)) revert ZeroAddress();
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
        // INVARIANT: a ledger grows by what the vault received, never by a promise.
        if (amount == 0) revert ZeroAmount();
        _pull(msg.sender, amount);
        freeOf[msg.sender] += amount;
        _free += amount;
        emit Deposited(msg.sender, amount);
    }

    /// @inheritdoc IStakeVault
    function withdraw(uint256 amount, address to) external nonReentrant {
        if (amount == 0) revert ZeroAmount();
        if (to == address(0)) revert ZeroAddress();
        // INVARIANT: only free bond leaves.
        uint256 free = freeOf[msg.sender];
        if (free < amount) revert InsufficientFree(msg.sender, free, amount);
        freeOf[msg.sender] = free - amount;
        _free -= amount;
        emit Withdrawn(msg.sender, to, amount);
        IERC20(TOKEN).safeTransfer(to, amount);
    }

    /// @inheritdoc IStakeVault
    function authorise(address operator, uint256 limit) external {
        if (operator == address(0)) revert ZeroAddress();
        _allowances[msg.sender][operator].limit = limit;
        emit OperatorAuthorised(msg.sender, operator, limit);
    }

    /// @inheritdoc IStakeVault
    function collect(address to) external nonReentrant returns (uint256 amount) {
        if (to == address(0)) revert ZeroAddress();
        amount = creditOf[msg.sender];
        // INVARIANT: a credit is paid once, to its account's choice.
        if (amount == 0) revert NothingToCollect(msg.sender);
        creditOf[msg.sender] = 0;
        _credits -= amount;
        emit Collected(msg.sender, to, amount);
        IERC20(TOKEN).safeTransfer(to, amount);
    }

    // --- the market ---

    /// @inheritdoc IStakeVault
    function fund(JobId job, address payer, uint256 amount) external onlyMarket nonReentrant {
        if (amount == 0) revert ZeroAmount();
        _pull(payer, amount);
        escrowOf[job] += amount;
        _escrows += amount;
    }

    /// @inheritdoc IStakeVault
    function lock(address provider, address operator, uint256 amount) external onlyMarket {
        // INVARIANT: no bond backs two seals: what is locked is no longer free.
        uint256 free = freeOf[provider];
        if (free < amount) revert InsufficientFree(provider, free, amount);
        // INVARIANT: a hot key binds at most what its owner allows.
        Allowance storage allowance = _allowances[provider][operator];
        uint256 held = allowance.locked;
        if (held + amount > allowance.limit) {
            revert OperatorLimit(provider, operator, allowance.limit, held, amount);
        }
        freeOf[provider] = free - amount;
        lockedOf[provider] += amount;
        allowance.locked = held + amount;
        _free -= amount;
        _locked += amount;
        emit Locked(provider, operator, amount);
    }

    /// @inheritdoc IStakeVault
    function unlock(address provider, address operator, uint256 amount) external onlyMarket {
        _takeLocked(provider, operator, amount);
        freeOf[provider] += amount;
        _free += amount;
        emit Unlocked(provider, operator, amount);
    }

    /// @inheritdoc IStakeVault
    function slash(JobId job, address provider, address operator, uint256 amount) external onlyMarket {
        _takeLocked(provider, operator, amount);
        escrowOf[job] += amount;
        _escrows += amount;
    }

    /// @inheritdoc IStakeVault
    function credit(JobId job, address account, uint256 amount) external onlyMarket {
        _takeEscrow(job, amount);
        creditOf[account] += amount;
        _credits += amount;
    }

    /// @inheritdoc IStakeVault
    function burn(JobId job, uint256 amount) external onlyMarket {
        _takeEscrow(job, amount);
        _burnt += amount;
    }

    // --- views ---

    /// @inheritdoc IStakeVault
    function operatorOf(address provider, address operator) external view returns (uint256 limit, uint256 locked) {
        Allowance storage allowance = _allowances[provider][operator];
        return (allowance.limit, allowance.locked);
    }

    /// @inheritdoc IStakeVault
    function totals()
        external
        view
        returns (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 burnt)
    {
        return (_free, _locked, _escrows, _credits, _burnt);
    }

    // --- inside ---

    function _pull(address payer, uint256 amount) private {
        uint256 before = IERC20(TOKEN).balanceOf(address(this));
        IERC20(TOKEN).safeTransferFrom(payer, address(this), amount);
        uint256 received = IERC20(TOKEN).balanceOf(address(this)) - before;
        // INVARIANT: balance = the sum of the ledgers.
        if (received != amount) revert TokenTakesFee(amount, received);
    }

    function _takeLocked(address provider, address operator, uint256 amount) private {
        lockedOf[provider] -= amount;
        _allowances[provider][operator].locked -= amount;
        _locked -= amount;
    }

    function _takeEscrow(JobId job, uint256 amount) private {
        // INVARIANT: no call takes more out of a job than its own ledger holds.
        uint256 escrow = escrowOf[job];
        if (escrow < amount) revert InsufficientEscrow(job, escrow, amount);
        escrowOf[job] = escrow - amount;
        _escrows -= amount;
    }
}
