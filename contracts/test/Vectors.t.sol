// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IBeacon} from "../src/interfaces/IBeacon.sol";
import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Draws} from "../src/libraries/Draws.sol";
import {Facts, Phases} from "../src/libraries/Phases.sol";
import {SealRef, Sealing} from "../src/libraries/Sealing.sol";
import {TermsCheck} from "../src/libraries/TermsCheck.sol";
import {Config, JobId, Outcome, Phase, Stage, Terms, Windows} from "../src/types/Types.sol";
import {Assertions} from "./support/Assertions.sol";

/// @notice The cheat codes that only these tests need.
interface VectorVm {
    function etch(address target, bytes calldata code) external;
    function chainId(uint256 id) external;
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function parseJsonUintArray(string calldata json, string calldata key) external pure returns (uint256[] memory);
}

/// @notice Seals as the contract at this address would check them.
contract Sealer {
    function seal(uint256[] calldata row) external view returns (bytes32) {
        SealRef memory ref = SealRef(JobId.wrap(row[0]), uint32(row[1]), uint16(row[2]), Stage(uint8(row[3])));
        return Sealing.sealHash(
            ref, address(uint160(row[4])), bytes32(row[5]), bytes32(row[6]), bytes32(row[7]), bytes32(row[8])
        );
    }
}

/// @notice Terms as calldata, which is how the market gets them.
contract Gate {
    function check(Terms calldata terms, Config memory c, uint256 escrow) external pure {
        TermsCheck.check(terms, c, escrow);
    }

    function requiredEscrow(Terms calldata terms) external pure returns (uint256) {
        return TermsCheck.requiredEscrow(terms);
    }
}

/// @notice The golden vectors that Python computed, through the libraries of the contract.
/// @dev Written by `python -m tests.rules.make_vectors`; every table is flat, row by row.
contract VectorsTest is Assertions {
    VectorVm private constant vm = VectorVm(address(uint160(uint256(keccak256("hevm cheat code")))));
    string private json;
    Gate private gate;

    function setUp() public {
        gate = new Gate();
        json = vm.readFile("test/vectors/vectors.json");
    }

    function test_perm() public view {
        uint256[] memory t = _table("perm", 4);
        for (uint256 i = 0; i < t.length; i += 4) {
            assertEq(Draws.perm(bytes32(t[i]), t[i + 1], t[i + 2]), t[i + 3], "perm");
        }
    }

    function test_seed() public view {
        uint256[] memory t = _table("seed", 4);
        for (uint256 i = 0; i < t.length; i += 4) {
            bytes32 seed = Draws.seedOf(bytes32(t[i]), Stage(uint8(t[i + 1])), t[i + 2]);
            assertEq(seed, bytes32(t[i + 3]), "seed");
        }
    }

    function test_seal() public {
        vm.chainId(vm.parseJsonUint(json, ".chainId"));
        Sealer market = Sealer(address(uint160(vm.parseJsonUint(json, ".market"))));
        vm.etch(address(market), address(new Sealer()).code);
        uint256[] memory t = _table("seal", 10);
        for (uint256 i = 0; i < t.length; i += 10) {
            uint256[] memory row = new uint256[](9);
            for (uint256 c = 0; c < 9; ++c) {
                row[c] = t[i + c];
            }
            assertEq(market.seal(row), bytes32(t[i + 9]), "seal");
        }
    }

    function test_witness() public view {
        uint256[] memory t = _table("witness", 5);
        for (uint256 i = 0; i < t.length; i += 5) {
            SealRef memory ref = SealRef(JobId.wrap(t[i]), uint32(t[i + 1]), uint16(t[i + 2]), Stage.Work);
            assertEq(Sealing.witnessHash(ref, bytes32(t[i + 3])), bytes32(t[i + 4]), "witness");
        }
    }

    function test_outcome() public view {
        uint256[] memory t = _table("outcome", 4);
        for (uint256 i = 0; i < t.length; i += 4) {
            bytes32 hash = Sealing.outcomeHash(Outcome(bytes32(t[i]), bytes32(t[i + 1]), bytes32(t[i + 2])));
            assertEq(hash, bytes32(t[i + 3]), "outcome");
        }
    }

    function test_phase() public view {
        uint256[] memory t = _table("phase", 6);
        for (uint256 i = 0; i < t.length; i += 6) {
            Facts memory f = _facts(t[i + 4]);
            (f.nowBlock, f.deadline, f.pending) = (uint64(t[i + 1]), uint64(t[i + 2]), uint16(t[i + 3]));
            assertEq(uint256(Phases.next(Phase(uint8(t[i])), f)), t[i + 5], "phase");
        }
    }

    /// @notice The escrow, and each bond: exactly enough passes, one unit less does not.
    function test_terms() public view {
        uint256[] memory t = _table("terms", 11);
        for (uint256 i = 0; i < t.length; i += 11) {
            Terms memory terms = _terms(t, i);
            uint256 escrow = t[i + 8];
            assertEq(gate.requiredEscrow(terms), escrow, "escrow");
            assertTrue(_accepts(terms, escrow), "the bounds themselves");
            assertTrue(!_accepts(terms, escrow - 1), "an escrow too small");
            terms.bond -= 1;
            assertTrue(!_accepts(terms, escrow), "B too small");
            terms.bond += 1;
            terms.coordinatorBond -= 1;
            assertTrue(!_accepts(terms, escrow), "C too small");
        }
    }

    function _table(string memory name, uint256 columns) private view returns (uint256[] memory cells) {
        cells = vm.parseJsonUintArray(json, string.concat(".", name, ".cells"));
        assertTrue(cells.length > 0 && cells.length % columns == 0, "whole rows");
    }

    /// @dev Bit i is the i-th flag of Facts, in its order.
    function _facts(uint256 flags) private pure returns (Facts memory f) {
        f.beaconReady = _bit(flags, 0);
        f.canOpen = _bit(flags, 1);
        f.ended = _bit(flags, 2);
        f.anySealed = _bit(flags, 3);
        f.anyDrawn = _bit(flags, 4);
        f.anyUnanswered = _bit(flags, 5);
        f.tooManyUnanswered = _bit(flags, 6);
        f.anyDisputed = _bit(flags, 7);
        f.updatable = _bit(flags, 8);
        f.proposed = _bit(flags, 9);
        f.anySuccessor = _bit(flags, 10);
        f.checkersAnswered = _bit(flags, 11);
        f.updateDisputed = _bit(flags, 12);
        f.updateChallenged = _bit(flags, 13);
        f.settled = _bit(flags, 14);
    }

    function _bit(uint256 flags, uint256 i) private pure returns (bool) {
        return (flags >> i) & 1 == 1;
    }

    function _terms(uint256[] memory t, uint256 i) private pure returns (Terms memory terms) {
        terms.manifest = terms.genesisRoot = terms.genesisCid = bytes32(uint256(1));
        terms.coordinator = address(1);
        terms.rounds = uint32(t[i]);
        terms.tasks = uint16(t[i + 1]);
        terms.checks = uint16(t[i + 2]);
        terms.gatherers = uint8(t[i + 3]);
        terms.panel = uint8(t[i + 4]);
        (terms.maxFailedRounds, terms.minWorkers) = (1, 1);
        terms.minVerifiers = terms.checks + terms.gatherers + terms.panel;
        (terms.reward, terms.fee, terms.updateFee) = (uint96(t[i + 5]), uint96(t[i + 6]), uint96(t[i + 7]));
        (terms.bond, terms.coordinatorBond) = (uint96(t[i + 9]), uint96(t[i + 10]));
        terms.windows = Windows(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    }

    function _accepts(Terms memory terms, uint256 escrow) private view returns (bool) {
        Config memory c = Config({
            epochBlocks: 1,
            beaconDelay: 1,
            minWindow: 1,
            maxWindow: 1,
            maxRounds: 1000,
            maxPanel: 13,
            slotBond: 1,
            maxBond: type(uint96).max,
            beacon: IBeacon(address(0))
        });
        try gate.check(terms, c, escrow) {
            return true;
        } catch (bytes memory reason) {
            bytes4 why = bytes4(reason);
            assertTrue(why == IJobMarket.BadTerm.selector || why == IJobMarket.EscrowTooSmall.selector, "another error");
            return false;
        }
    }
}
