// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {JobId, Phase, RoundView, Terms, Windows} from "../../../src/types/Types.sol";
import {Deployed} from "../Deployed.sol";
import {vm} from "../Vm.sol";

/// @notice Who plays, how each of them is minded, and the terms they play for. Everything follows from one seed.
abstract contract Cast is Deployed {
    enum Character {
        Honest, // answers in time, with the truth
        Lazy, // tells the truth, and often forgets to
        Absent, // mostly does nothing
        Malicious // lies, copies, squats, objects without reason
    }

    /// @notice What the play has to know of a job, read once.
    struct Deal {
        address requester;
        address coordinator; // owner
        uint32 rounds;
        uint16 tasks;
        uint16 checks;
        uint8 gatherers;
        uint8 panel;
        uint32 commitWindow;
        uint256 reward;
        uint256 fee;
        uint256 updateFee;
        uint256 bond;
        uint256 coordinatorBond;
    }

    uint256 internal constant JOBS = 3; // that run at once
    uint256 internal constant WORKERS = 6;
    uint256 internal constant VERIFIERS = 16;
    uint256 internal constant COORDINATORS = 4;

    address[] internal coordinators;
    address[] internal people; // every provider
    mapping(address provider => Character) internal characterOf;
    JobId[JOBS] internal playing;
    mapping(JobId job => Deal) internal deals;
    uint256 public calls; // of the handler
    uint256 private _seed;
    uint256 private _others; // that are not honest

    // --- the cast ---

    /// @param hostile of every ten providers, how many are not honest
    function cast(uint256 hostile) internal {
        deploy(WORKERS, VERIFIERS);
        for (uint256 i = 0; i < WORKERS; ++i) {
            _mind(workers[i], i, hostile);
        }
        for (uint256 i = 0; i < VERIFIERS; ++i) {
            _mind(verifiers[i], i, hostile);
        }
        coordinators.push(coordinatorOwner);
        for (uint256 i = 1; i < COORDINATORS; ++i) {
            coordinators.push(address(uint160(0xC100 + i)));
            fundProvider(coordinators[i]);
        }
        for (uint256 i = 0; i < COORDINATORS; ++i) {
            _mind(coordinators[i], 3 * i, hostile);
        }
        for (uint256 i = 0; i < JOBS; ++i) {
            token.transfer(_requester(i), 1e24);
            vm.prank(_requester(i));
            token.approve(address(vault), type(uint256).max);
        }
    }

    function _mind(address owner, uint256 i, uint256 hostile) private {
        people.push(owner);
        // 7 and 10 have no common divisor: the minds are spread over the roles.
        if ((7 * i) % 10 < hostile) characterOf[owner] = Character(1 + _others++ % 3);
    }

    function _requester(uint256 stage) internal pure returns (address) {
        return address(uint160(0xA100 + stage));
    }

    function _is(address provider, Character character) internal view returns (bool) {
        return characterOf[provider] == character;
    }

    // --- the terms ---

    /// @notice Terms at random, from the least that posting admits upwards.
    function _randomTerms(address coordinator) internal returns (Terms memory t) {
        t = terms();
        t.coordinator = operatorOf(coordinator);
        t.rounds = uint32(1 + _pick(3));
        t.tasks = uint16(1 + _pick(6));
        t.checks = uint16(1 + _pick(t.tasks));
        t.gatherers = _pick(4) == 0 ? 5 : 3;
        t.panel = uint8(1 + 2 * _pick(3));
        t.maxFailedRounds = uint8(1 + _pick(3));
        t.minWorkers = uint16(1 + _pick(3));
        t.minVerifiers = t.checks + t.gatherers + t.panel;
        t.reward = uint96(2 + _pick(200));
        t.fee = uint96(t.reward + _pick(50));
        t.updateFee = uint96(_pick(100));
        uint256 deterrent = (3 * uint256(t.reward) * t.tasks + t.checks - 1) / t.checks;
        uint256 least = _most(deterrent + t.panel * uint256(t.fee), t.panel * uint256(t.updateFee));
        t.bond = uint96(least + _pick(100));
        t.coordinatorBond = uint96(t.tasks * uint256(t.reward) + t.panel * uint256(t.updateFee) + _pick(100));
        t.windows = Windows(_window(), _window(), _window(), _window(), _window(), _window(), 0, 0, 0, 0, 0);
        (t.windows.verdictOpen, t.windows.update, t.windows.updateCheck) = (_window(), _window(), _window());
        (t.windows.updateOpen, t.windows.updateChallenge) = (_window(), _window());
    }

    function _window() private returns (uint32) {
        return uint32(10 + _pick(40));
    }

    function _most(uint256 a, uint256 b) internal pure returns (uint256) {
        return a > b ? a : b;
    }

    // --- chance ---

    modifier seeded(uint256 seed) {
        _seed = seed;
        ++calls;
        _;
    }

    /// @notice A number below `n`, out of the call's seed.
    function _pick(uint256 n) internal returns (uint256) {
        _seed = uint256(keccak256(abi.encode(_seed)));
        return _seed % n;
    }

    /// @notice A member of a set of tasks; `none` where it is empty.
    function _member(uint256 set, uint16 none) internal returns (uint16 i) {
        if (set == 0) return none;
        uint256 size = 0;
        for (uint256 left = set; left != 0; left &= left - 1) {
            ++size;
        }
        for (uint256 skip = _pick(size); skip != 0; --skip) {
            set &= set - 1;
        }
        while ((set >> i) & 1 == 0) ++i;
    }

    /// @notice A coin that falls once for a matter of a round: who sleeps, sleeps through all of it.
    function _coin(uint32 round, bytes32 matter, uint256 sides) internal view returns (bool) {
        return uint256(keccak256(abi.encode(job, round, matter))) % sides == 0;
    }

    function _someone(address[] storage crowd) internal returns (address) {
        return crowd[_pick(crowd.length)];
    }
}
