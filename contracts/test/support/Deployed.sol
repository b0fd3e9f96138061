// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobMarket} from "../../src/JobMarket.sol";
import {StakeVault} from "../../src/StakeVault.sol";
import {BlockHashBeacon} from "../../src/beacons/BlockHashBeacon.sol";
import {DevToken} from "../../src/dev/DevToken.sol";
import {IBeacon} from "../../src/interfaces/IBeacon.sol";
import {NONFINITE} from "../../src/libraries/Sealing.sol";
import {Config, JobId, Opening, Outcome, Phase, Stage, TaskSeal, Terms, Windows} from "../../src/types/Types.sol";
import {Assertions} from "./Assertions.sol";
import {Vm, vm} from "./Vm.sol";

/// @notice A deployed market with funded actors, and the bytes they seal. No moves of a round: see `Play`.
abstract contract Deployed is Assertions {
    uint96 internal constant W = 101; // odd, as f and u, so that halves round
    uint96 internal constant F = 111;
    uint96 internal constant U = 53;
    uint96 internal constant B = 1_003;
    uint96 internal constant C = 1_207;
    uint96 internal constant SLOT_BOND = 500;
    uint16 internal constant TASKS = 4;
    uint32 internal constant WINDOW = 10;

    // Variants of what an actor computes: the truth, lies, and the end of the finite numbers.
    uint256 internal constant TRUE = 0;
    uint256 internal constant LIE = 1;
    uint256 internal constant OTHER_LIE = 2;
    uint256 internal constant DIVERGED = 99;

    DevToken internal token;
    StakeVault internal vault;
    JobMarket internal market;
    IBeacon internal beacon;
    JobId internal job;

    address internal requester = address(0xA000);
    address internal coordinatorOwner = address(0xC000);
    address[] internal workers;
    address[] internal verifiers;

    function deploy(uint256 workerCount, uint256 verifierCount) internal {
        vm.roll(1_000);
        token = new DevToken(address(this), 1e30);
        beacon = newBeacon();
        market = new JobMarket(address(token), deploymentConfig());
        vault = StakeVault(market.VAULT());
        token.transfer(requester, 1e24);
        vm.prank(requester);
        token.approve(address(vault), type(uint256).max);
        fundProvider(coordinatorOwner);
        for (uint256 i = 0; i < workerCount; ++i) {
            workers.push(address(uint160(0x1000 + i)));
            fundProvider(workers[i]);
        }
        for (uint256 i = 0; i < verifierCount; ++i) {
            verifiers.push(address(uint160(0x2000 + i)));
            fundProvider(verifiers[i]);
        }
    }

    function deploymentConfig() internal view virtual returns (Config memory) {
        return Config({
            epochBlocks: 20,
            beaconDelay: 2,
            minWindow: 4,
            maxWindow: 1_000,
            maxRounds: 1_000,
            maxPanel: 9,
            slotBond: SLOT_BOND,
            maxBond: 1e18,
            beacon: beacon
        });
    }

    function newBeacon() internal virtual returns (IBeacon) {
        return new BlockHashBeacon();
    }

    function terms() internal view virtual returns (Terms memory t) {
        t.manifest = keccak256("manifest");
        t.genesisRoot = keccak256("genesis root");
        t.genesisCid = keccak256("genesis cid");
        t.coordinator = operatorOf(coordinatorOwner);
        t.rounds = 2;
        t.tasks = TASKS;
        t.checks = 2;
        t.gatherers = 3;
        t.panel = 3;
        t.maxFailedRounds = 2;
        t.minWorkers = 4;
        t.minVerifiers = 8;
        t.reward = W;
        t.fee = F;
        t.updateFee = U;
        t.bond = B;
        t.coordinatorBond = C;
        t.windows = Windows(WINDOW, WINDOW, WINDOW, WINDOW, WINDOW, WINDOW, WINDOW, WINDOW, WINDOW, WINDOW, WINDOW);
    }

    // --- actors ---

    /// @notice The hot key of an owner.
    function operatorOf(address owner) internal pure returns (address) {
        return address(uint160(owner) + 0x100000);
    }

    function fundProvider(address owner) internal {
        token.transfer(owner, 1e9);
        vm.startPrank(owner);
        token.approve(address(vault), type(uint256).max);
        vault.deposit(1e9);
        vault.authorise(operatorOf(owner), 1e9);
        vm.stopPrank();
    }

    /// @notice All that belongs to an owner inside the vault.
    function wealth(address owner) internal view returns (uint256) {
        return vault.freeOf(owner) + vault.lockedOf(owner) + vault.creditOf(owner);
    }

    // --- what is sealed ---

    function witnessOf(uint16 question, uint256 variant) internal pure returns (bytes32) {
        return keccak256(abi.encode("witness", question, variant));
    }

    function outcomeOf(uint32 round, uint16 question, uint256 variant) internal view returns (Outcome memory o) {
        bool finite = variant != DIVERGED;
        o.root = finite ? keccak256(abi.encode("root", question, variant)) : NONFINITE;
        o.cid = finite ? keccak256(abi.encode("cid", question, variant)) : bytes32(0);
        o.h = keccak256(abi.encode(job, round, question, witnessOf(question, variant)));
    }

    function saltOf(address provider) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", provider));
    }

    function sealHash(Stage stage, uint32 round, uint16 question, address provider, uint256 variant)
        internal
        view
        returns (bytes32)
    {
        Outcome memory o = outcomeOf(round, question, variant);
        if (stage == Stage.Panel || stage == Stage.UpdatePanel) o.h = witnessOf(question, variant);
        bytes memory head = abi.encode(block.chainid, address(market), job, round, question, uint8(stage));
        return keccak256(bytes.concat(head, abi.encode(provider, o.root, o.cid, o.h, saltOf(provider))));
    }

    // --- batches of one ---

    function oneSeal(uint16 task, bytes32 hash) internal pure returns (TaskSeal[] memory seals) {
        seals = new TaskSeal[](1);
        seals[0] = TaskSeal(task, hash);
    }

    function oneOpening(Stage stage, uint16 question, uint16 seat, Outcome memory o, bytes32 salt)
        internal
        pure
        returns (Opening[] memory openings)
    {
        openings = new Opening[](1);
        openings[0] = Opening(stage, question, seat, o, salt);
    }

    // --- books ---

    /// @notice Invariant 1: the vault's balance is the sum of its ledgers, and the ledgers are the sum of the actors.
    function assertBooks() internal view {
        (uint256 free, uint256 locked, uint256 escrows, uint256 credits, uint256 gone) = vault.totals();
        assertEq(token.balanceOf(address(vault)), free + locked + escrows + credits + gone, "balance identity");
        uint256 owned = wealth(coordinatorOwner) + wealth(requester);
        for (uint256 i = 0; i < workers.length; ++i) {
            owned += wealth(workers[i]);
        }
        for (uint256 i = 0; i < verifiers.length; ++i) {
            owned += wealth(verifiers[i]);
        }
        assertEq(owned, free + locked + credits, "sum over the actors");
        uint256 inJobs = 0;
        for (uint256 i = 1; i <= market.jobs(); ++i) {
            inJobs += vault.escrowOf(JobId.wrap(i));
        }
        assertEq(inJobs, escrows, "sum over the jobs");
    }

    function burnt() internal view returns (uint256 amount) {
        (,,,, amount) = vault.totals();
    }

    function phase() internal view returns (Phase) {
        return market.roundOf(job).phase;
    }

    function assertPhase(Phase wanted) internal view {
        assertEq(uint256(phase()), uint256(wanted), "phase");
    }
}
