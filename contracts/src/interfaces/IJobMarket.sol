// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    Config,
    Ending,
    JobId,
    JobView,
    Opening,
    Outcome,
    Permit,
    Phase,
    Reason,
    RoundView,
    Seal,
    Stage,
    TaskResult,
    TaskSeal,
    Terms
} from "../types/Types.sol";

/// @title The market: one job is a sequence of rounds; a round is a walk through the phases.
/// @notice Every call first moves the phase as far as time and facts allow, acts, and moves it again.
/// The update of a round is handled as question number `tasks`, beside the tasks 0 .. tasks - 1.
interface IJobMarket {
    // --- events: what an auditor needs to re-derive every payment ---

    event JobPosted(JobId indexed job, address indexed requester, uint256 escrow, Terms terms);
    event CoordinatorAccepted(JobId indexed job, address indexed provider, address indexed operator);
    event CoordinatorRemoved(JobId indexed job, address indexed provider);
    event JobStopped(JobId indexed job);
    event JobEnded(JobId indexed job, Ending ending);

    event WorkerJoined(JobId indexed job, uint32 indexed slot, address indexed provider, address operator);
    event WorkerLeft(JobId indexed job, uint32 indexed slot, address indexed provider);
    event VerifierEnrolled(uint32 indexed slot, address indexed provider, address operator, uint64 fromEpoch);
    event VerifierRetired(uint32 indexed slot, address indexed provider, uint64 fromEpoch);
    event VerifierReleased(uint32 indexed slot, address indexed provider);

    event RoundOpened(
        JobId indexed job,
        uint32 indexed round,
        bytes32 stateRoot,
        bytes32 stateCid,
        uint16 workers,
        uint16 verifiers,
        uint64 epoch
    );
    event PhaseChanged(JobId indexed job, uint32 indexed round, Phase phase, uint64 deadline, uint64 beaconBlock);
    event BeaconDrawn(JobId indexed job, uint32 indexed round, Phase phase, bytes32 value);
    event Sealed(
        JobId indexed job,
        uint32 indexed round,
        Stage stage,
        uint16 question,
        uint16 seat,
        address provider,
        address operator,
        bytes32 hash
    );
    event Opened(
        JobId indexed job,
        uint32 indexed round,
        Stage stage,
        uint16 question,
        uint16 seat,
        address provider,
        Outcome outcome
    );
    event Claimed(
        JobId indexed job, uint32 indexed round, uint16 task, uint32 slot, address provider, address operator
    );
    event Passed(
        JobId indexed job, uint32 indexed round, Stage stage, uint16 question, uint16 seat, uint8 turn, address provider
    );
    event Gathered(JobId indexed job, uint32 indexed round, uint16 seat, address provider, uint256 bitmap);
    event VerdictReached(JobId indexed job, uint32 indexed round, uint16 question, bool lead, bytes32 outcomeHash);
    event TaskSettled(JobId indexed job, uint32 indexed round, uint16 task, TaskResult result);
    event UpdateAccepted(JobId indexed job, uint32 indexed round, bytes32 stateRoot, bytes32 stateCid);
    event RoundFinalised(JobId indexed job, uint32 indexed round, bool updated, bool isVoid);

    event Credited(
        JobId indexed job, uint32 indexed round, address indexed account, uint16 question, Reason reason, uint256 amount
    );
    event Slashed(
        JobId indexed job,
        uint32 indexed round,
        address indexed provider,
        uint16 question,
        Reason reason,
        uint256 amount
    );
    event Burnt(JobId indexed job, uint32 indexed round, uint16 question, Reason reason, uint256 amount);

    // --- errors ---

    error NoSuchJob(JobId job);
    error NotInPhase(JobId job, Phase phase);
    error NotInRound(JobId job, uint32 round, uint32 asked);
    error OnlyRequester(address requester, address caller);
    error OnlyCoordinator(address coordinator, address caller);
    error NotOperatorOf(address provider, address caller);
    error AlreadyAccepted(JobId job);

    error BadTerm(bytes32 name, uint256 value, uint256 bound);
    error EscrowTooSmall(uint256 escrow, uint256 required);

    error RosterFrozen(JobId job, Phase phase);
    error RosterFull(uint256 size);
    error NoSuchSlot(uint32 slot);
    error SlotServed(uint32 slot, uint32 round);
    error SlotBonded(uint32 slot, uint64 untilEpoch);

    error NoSuchTask(uint16 task, uint16 tasks);
    error NotYourTask(uint16 task, uint32 slot);
    error NotYourSeat(uint16 question, uint16 seat, address holder);
    error NotYourTurn(uint16 question, uint16 seat, uint8 turn, uint8 current);
    error NotDrawn(uint16 task);
    error ClaimTooEarly(uint16 task, uint64 fromBlock);
    error AlreadyClaimed(uint16 task, uint32 slot);
    error SlotClaims(uint32 slot, uint16 task);
    error SuccessionTooEarly(uint8 seat, uint64 fromBlock);
    error AlreadySealed(uint16 question, uint16 seat);
    error NotSealed(uint16 question, uint16 seat);
    error AlreadyOpened(uint16 question, uint16 seat);
    error TaskReleased(uint16 task);
    error WrongOpening(bytes32 expected, bytes32 got);
    error BadOutcome(bytes32 root, bytes32 cid);
    error AlreadyGathered(uint16 seat);
    error AlreadyDisputed(uint16 question);
    error OwnWork(address provider);
    error NotEnrolled(address provider);
    error ZeroHash();
    error BadConfig(bytes32 name, uint256 value);

    // --- requester ---

    /// @notice Posts a job and pulls its whole worst-case budget from the caller into escrow.
    function post(Terms calldata terms, uint256 escrow) external returns (JobId job);

    /// @notice `post` with the caller's ERC-2612 signature over `escrow` for the vault; a permit that fails is ignored.
    function postWithPermit(Terms calldata terms, uint256 escrow, Permit calldata permit) external returns (JobId job);

    /// @notice No further round opens; the open one runs to its end, then the rest is refunded.
    function stop(JobId job) external;

    // --- coordinator ---

    /// @notice The operator named by the job accepts it for `provider`, whose bond C is locked until the end.
    function accept(JobId job, address provider) external;

    /// @notice Seals the next state.
    function sealUpdate(JobId job, uint32 round, bytes32 hash) external;

    // --- workers ---

    /// @notice Adds `slots` slots to the job's roster, each holding one bond B.
    function join(JobId job, address provider, uint16 slots) external;

    /// @notice Takes a slot out of the roster; its bond is free at once unless it backs a seal.
    function leave(JobId job, uint32 slot) external;

    /// @notice Anybody: drops a slot that left a task of this round unserved.
    function drop(JobId job, uint32 slot, uint16 task) external;

    /// @notice Seals results of tasks that `slot` serves: all of them, or none.
    function sealTasks(JobId job, uint32 round, uint32 slot, TaskSeal[] calldata seals) external;

    /// @notice In the second half of Commit: takes over an unserved task for `slot`, before computing it. Its bond answers
    /// for a seal; without one, half the pay is lost. One task at a time.
    function claim(JobId job, uint32 round, uint16 task, uint32 slot) external;

    // --- verifiers ---

    /// @notice Enrols `slots` slots from the next epoch on, each holding the slot bond of the deployment.
    function enrol(address provider, uint16 slots) external;

    /// @notice Takes a slot out of the rosters from the next epoch on.
    function retire(uint32 slot) external;

    /// @notice Unlocks a retired slot's bond once no round that may use it is left.
    function release(uint32 slot) external;

    /// @notice Seals the check of a drawn task, as candidate number `turn` of its seat.
    function sealCheck(JobId job, uint32 round, uint16 task, uint8 turn, bytes32 hash) external;
    /// @notice Hands the check of a task, or a drawn check of the update, to the seat's next candidate; free.
    function pass(JobId job, uint32 round, Stage stage, uint16 question, uint16 seat, uint8 turn) external;
    function gather(JobId job, uint32 round, uint16 seat, uint256 bitmap) external;
    /// @notice Seals another outcome of a revealed task. `question == tasks` challenges the update.
    function challenge(JobId job, uint32 round, uint16 question, address provider, bytes32 hash) external;
    /// @notice Seals a vote. The sealed bytes hold the witness itself in place of h, so a public outcome cannot be copied.
    function sealPanel(JobId job, uint32 round, uint16 question, uint16 seat, bytes32 hash) external;
    /// @notice Seals the check of the update; `turn` is 0 for a gatherer's own seat.
    function sealUpdateCheck(JobId job, uint32 round, uint16 seat, uint8 turn, bytes32 hash) external;
    /// @notice Seals the next state in place of a late coordinator, as the gatherer of `seat`, locking C.
    function sealSuccession(JobId job, uint32 round, uint8 seat, bytes32 hash) external;

    // --- anybody ---

    /// @notice Opens seals, all of them or none; the caller need not be who sealed.
    function open(JobId job, uint32 round, Opening[] calldata openings) external;

    /// @notice Opens a panel member's seal with its witness.
    function openPanel(
        JobId job,
        uint32 round,
        uint16 question,
        uint16 seat,
        bytes32 root,
        bytes32 cid,
        bytes32 witness,
        bytes32 salt
    ) external;

    /// @notice Moves the phase as far as time and facts allow.
    function advance(JobId job) external;

    /// @notice `advance`, and where that leads. Evaluate it with `eth_call` to see where a round stands now.
    function standing(JobId job) external returns (JobView memory, RoundView memory);

    // --- views ---

    function termsOf(JobId job) external view returns (Terms memory);
    function jobOf(JobId job) external view returns (JobView memory);
    function roundOf(JobId job) external view returns (RoundView memory);
    /// @notice Number of jobs; the newest has this number.
    function jobs() external view returns (uint256);
    function VAULT() external view returns (address);
    function config() external view returns (Config memory);
    /// @notice Blocks that a round can take when every phase is moved on at its deadline.
    function longestRound() external view returns (uint256);
    /// @notice What was sealed; all zero where nothing was.
    function sealOf(JobId job, uint32 round, Stage stage, uint16 question, uint16 seat)
        external
        view
        returns (Seal memory);
    /// @notice Eligible candidate number `turn` of a drawn seat of the open round; zero where there is none. `Check` takes the
    /// task as question; seats 0 .. G-1 of `UpdateCheck` are the gatherers, G and G+1 the two drawn for the update.
    /// Gatherers and panels have one turn, number 0.
    function holderOf(JobId job, Stage stage, uint16 question, uint16 seat, uint8 turn)
        external
        view
        returns (uint32 slot, address provider);
    /// @notice The turn that a seat has come to in the open window of checks.
    function turnOf(JobId job, Stage stage, uint16 question, uint16 seat) external view returns (uint8);
    /// @notice The results that a gatherer posted as held.
    function gatheredBy(JobId job, uint32 round, uint16 seat) external view returns (uint256 bitmap);
    function epoch() external view returns (uint64);
    function requiredEscrow(Terms calldata terms) external view returns (uint256);
    /// @notice Slot of the open round's roster that task `task` belongs to, whoever claimed it.
    function slotOfTask(JobId job, uint16 task) external view returns (uint32 slot, address provider);
    function workerRoster(JobId job) external view returns (uint32[] memory slots, address[] memory providers);
    function verifierRoster(uint64 epoch) external view returns (uint32[] memory slots, address[] memory providers);
}
