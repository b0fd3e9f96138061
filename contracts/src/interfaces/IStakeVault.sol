// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId} from "../types/Types.sol";

/// @title Where every token of the market lies: bonds, escrows, credits, and what was burnt.
/// @notice Balance = free + locked + escrows + credits + burnt, always. Only the market moves money between
/// the ledgers, only an owner takes its own money out, and a job never pays more than its own ledger holds.
interface IStakeVault {
    event Deposited(address indexed provider, uint256 amount);
    event Withdrawn(address indexed provider, address indexed to, uint256 amount);
    event OperatorAuthorised(address indexed provider, address indexed operator, uint256 limit);
    event Locked(address indexed provider, address indexed operator, uint256 amount);
    event Unlocked(address indexed provider, address indexed operator, uint256 amount);
    event Collected(address indexed account, address indexed to, uint256 amount);

    error OnlyMarket(address caller);
    error ZeroAmount();
    error ZeroAddress();
    error TokenTakesFee(uint256 asked, uint256 received);
    error InsufficientFree(address provider, uint256 free, uint256 asked);
    error OperatorLimit(address provider, address operator, uint256 limit, uint256 locked, uint256 asked);
    error InsufficientEscrow(JobId job, uint256 escrow, uint256 asked);
    error NothingToCollect(address account);

    /// @notice Adds `amount` to the caller's free bond; the caller is the owner (cold key).
    function deposit(uint256 amount) external;

    /// @notice Takes free bond out, at once, to any address.
    function withdraw(uint256 amount, address to) external;

    /// @notice Lets `operator` (hot key) act for the caller with at most `limit` locked at a time; 0 revokes.
    function authorise(address operator, uint256 limit) external;

    /// @notice Takes the caller's credits out, to any address.
    function collect(address to) external returns (uint256 amount);

    // --- only the market ---

    /// @notice Pulls `amount` from `payer` into the ledger of `job`.
    function fund(JobId job, address payer, uint256 amount) external;
    function lock(address provider, address operator, uint256 amount) external;
    function unlock(address provider, address operator, uint256 amount) external;
    /// @notice Moves locked bond into the ledger of `job`.
    function slash(JobId job, address provider, address operator, uint256 amount) external;
    /// @notice Moves from the ledger of `job` to the credits of `account`.
    function credit(JobId job, address account, uint256 amount) external;
    /// @notice Moves from the ledger of `job` to the burnt total.
    function burn(JobId job, uint256 amount) external;

    // --- views ---

    function TOKEN() external view returns (address);
    function MARKET() external view returns (address);
    function freeOf(address provider) external view returns (uint256);
    function lockedOf(address provider) external view returns (uint256);
    function operatorOf(address provider, address operator) external view returns (uint256 limit, uint256 locked);
    function creditOf(address account) external view returns (uint256);
    function escrowOf(JobId job) external view returns (uint256);
    function totals()
        external
        view
        returns (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 burnt);
}
