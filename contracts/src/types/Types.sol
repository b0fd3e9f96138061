// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "../interfaces/IBeacon.sol";

/// @notice Number of a job, counted from 1.
type JobId is uint256;

/// @notice Where a round stands. The order is the order of the flow.
enum Phase {
    None, // no such job
    Waiting, // between rounds: for the coordinator, for rosters
    Seed, // round open, beacon of the task assignment armed
    Commit, // workers seal results
    Draw, // beacon of the checks armed
    Check, // drawn verifiers recompute and seal, in turns
    Redraw, // beacon of the second draw of unanswered checks armed
    Recheck, // the newly drawn ones recompute and seal
    Reveal, // workers and verifiers open
    Gather, // gatherers post what they hold; challenges are sealed
    VerdictDraw, // beacon of the panels armed
    VerdictSeal, // panels recompute and seal
    VerdictOpen, // panels open outcome and witness, challengers open
    Update, // the coordinator seals the next state
    Succession, // it did not: gatherers may, in turn
    UpdateDraw, // beacon of the update's checkers armed
    UpdateCheck, // gatherers and two drawn verifiers seal theirs
    UpdateOpen, // proposer and checkers open
    UpdateChallenge, // anybody enrolled may seal another outcome
    UpdateVerdictDraw, // beacon of the update's panel armed
    UpdateVerdictSeal,
    UpdateVerdictOpen,
    Finalise, // pay, slash, unlock, a bounded number of tasks per call
    Ended
}

/// @notice What a seal is for; part of the sealed bytes, so that no seal can serve two purposes.
enum Stage {
    Work,
    Check,
    Challenge,
    Panel,
    Update,
    UpdateCheck,
    UpdateChallenge,
    UpdatePanel
}

/// @notice Why money moved, one word for the auditor.
enum Reason {
    TaskPaid, // w for a task that passed
    TaskHalved, // w/2 paid, w/2 burnt: nobody held the result, or a dissent without a lead
    CheckPaid, // f for an answered and opened check
    GatherPaid, // u for a gatherer
    UpdatePaid, // u for the accepted proposal
    UpdateCheckPaid, // u for a drawn checker of the update
    PanelPaid, // f or u to a panel member, from slashed bonds
    RaiserPaid, // at most B/10 to whoever raised the matter and was right
    Wrong, // bound to an outcome that the verdict rejects
    Unopened, // sealed, drawn, never opened
    Liveness, // half the pay of what was missed: a seal not opened, a claim not served
    PanelCosts, // share of a panel without a lead
    Remainder, // what is left of slashed bonds
    Refund // unspent escrow to the requester
}

/// @notice Why a job ended.
enum Ending {
    None,
    Completed,
    Stopped,
    Failed
}

/// @notice How a task of a finished round came out.
enum TaskResult {
    Empty, // nobody sealed
    Released, // drawn, not checked: unopened, unpaid, unlocked
    Unopened, // sealed, not opened
    Included,
    LeftOut, // passed and paid, but no majority of the gatherers held it
    Withheld, // passed, held by none of two or more: half paid
    NonFinite, // passed and paid, never included
    Rejected, // by verdict
    Undecided, // a dissent without a lead: half paid
    Void // the whole round was void
}

/// @notice Length of each window in blocks. Beacons have no window: they are ready after a fixed delay.
struct Windows {
    uint32 waiting;
    uint32 commit;
    uint32 check;
    uint32 reveal;
    uint32 gather;
    uint32 verdictSeal;
    uint32 verdictOpen;
    uint32 update;
    uint32 updateCheck;
    uint32 updateOpen;
    uint32 updateChallenge;
}

/// @notice What a requester posts; frozen for the life of the job. Amounts are in the token's smallest unit.
struct Terms {
    bytes32 manifest; // SHA-256 of the canonical manifest, which is also the digest of its CID
    bytes32 genesisRoot; // result root of state 0
    bytes32 genesisCid; // SHA-256 of the index block of state 0
    address coordinator; // operator key that must accept the job
    uint32 rounds; // R
    uint16 tasks; // T per round
    uint16 checks; // J per round
    uint8 gatherers; // G, odd, at least 3
    uint8 panel; // N, odd
    uint8 maxFailedRounds; // K
    uint16 minWorkers;
    uint16 minVerifiers;
    uint96 reward; // w per task
    uint96 fee; // f per check
    uint96 updateFee; // u per update duty
    uint96 bond; // B
    uint96 coordinatorBond; // C
    Windows windows;
}

/// @notice The whole answer of whoever computed a task or an update.
struct Outcome {
    bytes32 root; // result root, or NONFINITE
    bytes32 cid; // digest of the result's index block; zero when NONFINITE
    bytes32 h; // keccak256(abi.encode(job, round, question, witness))
}

/// @notice An ERC-2612 signature of the caller over an amount that the vault may pull.
struct Permit {
    uint256 deadline; // Unix time in seconds
    uint8 v;
    bytes32 r;
    bytes32 s;
}

/// @notice What a deployment fixes for all its jobs.
struct Config {
    uint32 epochBlocks; // length of an epoch of the verifier roster
    uint32 beaconDelay; // blocks between arming a beacon and its block
    uint32 minWindow; // bounds of every window, in blocks
    uint32 maxWindow;
    uint32 maxRounds;
    uint8 maxPanel;
    uint96 slotBond; // bond of a verifier slot
    uint96 maxBond; // bound of B
    IBeacon beacon; // where chance comes from
}

/// @notice One task's result, as its worker seals it.
struct TaskSeal {
    uint16 task;
    bytes32 hash;
}

/// @notice What shows a seal's outcome.
struct Opening {
    Stage stage;
    uint16 question;
    uint16 seat;
    Outcome outcome;
    bytes32 salt;
}

/// @notice A sealed answer and the bond behind it; a claimed task has one without a hash until it is sealed.
struct Seal {
    bytes32 hash; // of what was sealed; once that is opened, keccak256(abi.encode(Outcome)) in its place
    address provider;
    uint32 slot; // worker slot, where a worker sealed
    bool ofSlot; // backed by the slot's own bond, not by one of its own
    bool opened;
    address operator; // whose limit the bond counts against
}

/// @notice A job, as far as it goes on between rounds.
struct JobView {
    address requester;
    address coordinatorProvider; // zero until accepted, and again after the post is lost
    uint32 round; // number of the current or next round, from 0
    uint32 updates; // accepted updates so far
    uint8 failedRounds; // in a row
    bool stopped;
    Ending ending;
    bytes32 stateRoot;
    bytes32 stateCid;
    uint16 workerSlots; // roster size now
}

/// @notice The open round. Bit i of a bitmap speaks of task i.
struct RoundView {
    uint32 number;
    Phase phase;
    uint64 openedAt;
    uint64 deadline; // first block in which the window is over; 0 where a beacon is awaited
    uint64 beaconBlock; // block whose hash is awaited; 0 where none is
    uint64 epoch; // whose verifier roster this round uses
    uint16 workers; // roster sizes at the opening
    uint16 verifiers;
    bytes32 seed; // assignment of tasks
    bytes32 draw; // checks and gatherers
    bytes32 redraw; // checks that the first draw's verifiers left unanswered
    bytes32 panelDraw;
    bytes32 updateDraw;
    bytes32 updatePanelDraw;
    uint256 claimed; // tasks that a slot without them took over
    uint256 sealedTasks;
    uint256 drawn; // sealed tasks that are to be checked
    uint256 answered; // checks sealed
    uint256 openedTasks;
    uint256 openedChecks;
    uint256 disputed; // tasks for a panel
    uint256 challenged; // disputed because of a challenge
    uint256 included;
    uint16 gathered; // bit per gatherer seat
    uint16 updateAnswered; // bit per update seat: G gatherers, then the two drawn
    uint16 updateOpened;
    bool proposed; // the update is sealed
    uint8 proposer; // its seat: 0 the coordinator, 1 + g the gatherer g
    bool proposalOpened;
    bool updateDisputed;
    bool updateChallenged;
    bool isVoid;
}
