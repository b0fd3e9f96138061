// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Ending, JobId, Phase, Seal, Terms} from "./Types.sol";

// What no job and no deployment can exceed: a round's flags are bitmaps of 256 bits, seats of 16.
uint256 constant MAX_TASKS = 256;
uint256 constant MAX_SLOTS = 256;
uint256 constant MAX_GATHERERS = 13; // two more seats fit into 16 bits
uint256 constant MAX_VERIFIERS = type(uint16).max;
// Candidates of a check that may be asked, one after the other, in one window.
uint256 constant TURNS = 4;

/// @notice A worker's place in one job's roster, holding one bond B.
struct WorkerSlot {
    address provider;
    uint16 index; // in the roster
    bool active; // in the roster
    uint16 claim; // task of its latest claim
    uint16 backs; // 1 + the task of the open round that its bond stands behind; 0 while it backs none
    address operator;
}

/// @notice A verifier's place in the rosters of the epochs [joined, left).
struct VerifierSlot {
    address provider;
    uint16 position;
    uint64 leftEpoch; // first epoch without it; 0 while it stays
    bool released;
    address operator;
}

/// @notice All verifiers, as they change from epoch to epoch.
struct VerifierRoster {
    uint32 slotCount;
    Checkpoints.Trace208 size;
    mapping(uint256 position => Checkpoints.Trace208) slotAt;
    mapping(address provider => Checkpoints.Trace208) slotsOf;
    mapping(uint32 slot => VerifierSlot) slots;
}

/// @notice The votes on one question so far.
struct Verdict {
    bytes32 leader; // outcome with the most votes
    uint16 votes; // of the leader
    uint16 opened; // panel seats that opened
    bool tied; // another outcome has as many
    bool counted; // its fillable seats are in `seatsLeft`
}

/// @notice Root and CID behind an outcome of the update.
struct StateRef {
    bytes32 root;
    bytes32 cid;
}

/// @notice One round. Bit i of a bitmap speaks of task i.
struct Round {
    Phase phase;
    uint64 openedAt;
    uint64 deadline;
    uint64 beaconBlock;
    uint32 epoch;
    uint16 workers;
    // second word
    uint16 verifiers;
    uint16 gathered;
    uint16 updateAnswered;
    uint16 updateOpened;
    uint16 updateExpected;
    uint16 untouched; // questions of which no panel seat has sealed
    uint16 seatsLeft; // fillable panel seats of the others that have not sealed
    uint16 panelUnopened;
    uint16 settled; // tasks settled so far; tasks + 1 when the update is, too
    bool proposed;
    uint8 proposer; // seat of the proposal: 0 the coordinator, 1 + g the gatherer g
    bool proposalOpened;
    bool updateDisputed;
    bool updateChallenged;
    bool challengeOpened; // of the update
    bool isVoid;
    bool updateChecked; // reached its opening
    bool updated;
    bytes32 seed;
    bytes32 draw;
    bytes32 redraw;
    bytes32 panelDraw;
    bytes32 updateDraw;
    bytes32 updatePanelDraw;
    uint256 claimed;
    uint256 sealedTasks;
    uint256 drawn;
    uint256 answered;
    uint256 openedTasks;
    uint256 openedChecks;
    uint256 nonFinite;
    uint256 disputed;
    uint256 challenged;
    uint256 openedChallenges;
    uint256 led; // disputed tasks whose panel has a leader
    uint256 rejected; // of these, the ones whose leader is not the worker's outcome
    uint256 included;
    uint256 withheld; // finite, not rejected, held by none of two or more
    uint256 lent; // tasks with a bond that counts against another operator than the slot's
    uint32[] roster; // worker slots by index, as they stood at the opening
    mapping(uint256 task => bytes32 hash) work; // sealed; once that is opened, `Sealing.outcomeHash` in its place
    mapping(uint256 task => uint32 slot) claimants;
    mapping(uint256 task => address operator) lenders; // of the lent ones
    mapping(uint256 key => Seal) seals; // of all stages but Work, by Sealing.key
    mapping(uint16 seat => address provider) gatherers;
    mapping(uint16 seat => uint256 bitmap) holdings;
    mapping(uint16 question => Verdict) verdicts;
    mapping(bytes32 ballot => uint16 votes) votes; // by question and outcome
    mapping(bytes32 outcome => StateRef) states;
    mapping(uint256 key => uint8 turns) passed; // by seat and draw: candidates that handed their seat on
}

/// @notice One job.
struct Job {
    address requester;
    uint32 round;
    uint32 updates;
    uint8 failedRounds;
    bool stopped;
    Ending ending;
    address coordinatorProvider;
    uint32 openedRounds;
    uint32 slotCount;
    bytes32 stateRoot;
    bytes32 stateCid;
    Terms terms;
    uint32[] roster;
    mapping(uint32 slot => WorkerSlot) slots;
    mapping(uint32 round => Round) rounds;
}

/// @notice Everything the market remembers, in one place that linked libraries can be handed.
struct Store {
    uint256 jobCount;
    mapping(JobId job => Job) jobs;
    VerifierRoster verifiers;
}
