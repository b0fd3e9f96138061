// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Permit} from "../types/Types.sol";

/// @title Where every token of the market lies: bonds, escrows, credits, and what was burnt.
/// @notice Balance = free + locked + escrows + credits + burnt, always. Only the market moves money between
/// the ledgers, only an owner takes its own money out, and a job never pays more than its own ledger holds.
interface IStakeVault {
    event Deposited(address indexed provider, uint256 amount);
    event Withdrawn(address indexed provider, address indexed to, uint256 amount);
    event OperatorAuthorised(address indexed provider, address indexed operator, uint256 limit);
    event AuthorisationCancelled(address indexed provider, address indexed operator, uint64 nextNonce);
    event Locked(address indexed provider, address indexed operator, uint256 amount);
    event Unlocked(address indexed provider, address indexed operator, uint256 amount);
    event Collected(address indexed account, address indexed to, uint256 amount);

    error OnlyMarket(address caller);
    error ZeroAmount();
    error ZeroAddress();
    error NotAToken(address token);
    /// @notice The vault's balance moved by `moved` where `asked` was due.
    error TokenTakesFee(uint256 asked, uint256 moved);
    /// @notice Both are Unix times in seconds.
    error AuthorisationExpired(uint256 deadline, uint256 time);
    /// @notice `provider` did not sign `digest`, which holds chain, vault, operator, limit, nonce and deadline.
    error BadSignature(address provider, bytes32 digest);
    /// @notice All the money in the vault together stays below 2**128.
    error VaultFull(uint256 held, uint256 asked);
    error InsufficientFree(address provider, uint256 free, uint256 asked);
    error OperatorLimit(address provider, address operator, uint256 limit, uint256 locked, uint256 asked);
    error InsufficientEscrow(JobId job, uint256 escrow, uint256 asked);
    error NothingToCollect(address account);

    /// @notice Adds `amount` to the caller's free bond; the caller is the owner (cold key).
    function deposit(uint256 amount) external;

    /// @notice `deposit` with the owner's ERC-2612 signature over `amount` for this vault. A permit that fails is ignored:
    /// somebody may have sent it before, and the transfer decides.
    function depositWithPermit(uint256 amount, Permit calldata permit) external;

    /// @notice Takes free bond out, at once, to any address.
    function withdraw(uint256 amount, address to) external;

    /// @notice Lets `operator` (hot key) act for the caller with at most `limit` locked at a time; 0 revokes, and
    /// whatever is above 2**128 - 1 is kept as that.
    /// It also uses up the nonce, so that an authorisation of this operator that was signed before and is still to be sent is void.
    function authorise(address operator, uint256 limit) external;

    /// @notice Anybody: what `provider` (an account, or an ERC-1271 contract) signed by EIP-712, until `deadline` (Unix time in
    /// seconds, inclusive): Authorisation(address provider,address operator,uint256 limit,uint256 nonce,uint256 deadline).
    function authoriseBySignature(
        address provider,
        address operator,
        uint256 limit,
        uint64 nonce,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice Voids the caller's signed authorisation of `operator` with the next nonce; the limit stays.
    function cancelAuthorisation(address operator) external;

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
    /// @notice The nonce that the provider's next signed authorisation of `operator` must hold.
    function authorisationNonce(address provider, address operator) external view returns (uint64);
    function creditOf(address account) external view returns (uint256);
    function escrowOf(JobId job) external view returns (uint256);
    function totals()
        external
        view
        returns (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 burnt);
}
