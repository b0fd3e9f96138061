// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Ending, Phase, Stage} from "../src/types/Types.sol";
import {LastWei} from "./support/LastWei.sol";
import {vm} from "./support/Vm.sol";

/// @notice A requester stops in each phase of a round that goes through all of them: the round runs to its end as if it had
/// not, no other opens, and the rest comes back.
contract StopsTest is LastWei {
    uint256 private _stopAt;
    uint256 private _reached;

    function setUp() public {
        deploy(4, 24);
    }

    function test_stop_inEachPhase_letsTheRoundEndAsItWould_andRefundsTheRest() public {
        uint256 start = vm.snapshotState();
        (uint256 paid, uint256 gone, uint256 phases) = _story(type(uint256).max);
        assertEq(phases, uint256(Phase.Ended) - 1, "the story goes through every phase from Waiting to Finalise");
        for (uint256 p = uint256(Phase.Waiting); p < uint256(Phase.Finalise); ++p) {
            vm.revertToState(start);
            start = vm.snapshotState();
            (uint256 nowPaid, uint256 nowGone,) = _story(p);
            if (p == uint256(Phase.Waiting)) {
                assertEq(nowPaid + nowGone, 0, "nothing had begun");
            } else {
                assertEq(nowPaid, paid, "whoever worked is paid as if nobody had stopped");
                assertEq(nowGone, gone, "whoever cheated loses as if nobody had stopped");
            }
            assertEq(uint256(market.jobOf(job).ending), uint256(Ending.Stopped), "stopped");
            endAndWithdraw();
        }
    }

    function test_stop_isForTheRequester_once() public {
        openRound();
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.OnlyRequester.selector, requester, address(this)));
        market.stop(job);
        vm.prank(requester);
        market.stop(job);
        vm.prank(requester);
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.NotInPhase.selector, job, Phase.Commit));
        market.stop(job);
    }

    // --- inside ---

    /// @dev One round in which a check lies, a second draw is needed, the coordinator is late and an update check lies.
    /// @return paid credits to everybody but the requester
    /// @return gone what was burnt
    function _story(uint256 stopAt) private returns (uint256 paid, uint256 gone, uint256 phases) {
        (_stopAt, _reached) = (stopAt, 0);
        enrolAll();
        postAndAccept(terms());
        _maybeStop();
        if (phase() == Phase.Ended) return (0, 0, 1);
        for (uint256 i = 0; i < 4; ++i) {
            join(workers[i], 1);
        }
        _maybeStop();
        toCommit();
        _maybeStop();
        sealAll(NOBODY, TRUE);
        uint16 late = _checks();
        revealAll(NOBODY, TRUE, late, LIE);
        _maybeStop();
        gatherAll();
        _verdict(late);
        _update();
        paid = _credits();
        gone = burnt();
        phases = _reached + 1; // and Finalise, which a call passes through
    }

    /// @dev One check in each of the two windows; the second one lies.
    function _checks() private returns (uint16 late) {
        _maybeStop();
        passTo(Phase.Check);
        _maybeStop();
        uint256 drawn = market.roundOf(job).drawn;
        uint16 early = first(drawn);
        late = first(drawn & ~(uint256(1) << early));
        sealCheck(early, TRUE);
        passTo(Phase.Redraw);
        _maybeStop();
        pass();
        _maybeStop();
        sealCheck(late, LIE);
        assertPhase(Phase.Reveal);
        _maybeStop();
    }

    function _verdict(uint16 task) private {
        pass();
        assertPhase(Phase.VerdictDraw);
        _maybeStop();
        pass();
        _maybeStop();
        for (uint16 seat = 0; seat < 3; ++seat) {
            sealPanel(task, seat, TRUE);
        }
        assertPhase(Phase.VerdictOpen);
        _maybeStop();
        for (uint16 seat = 0; seat < 3; ++seat) {
            openPanel(task, seat, TRUE);
        }
        assertPhase(Phase.Update);
        _maybeStop();
    }

    function _update() private {
        pass();
        assertPhase(Phase.Succession);
        _maybeStop();
        sealSuccession(0, TRUE);
        _maybeStop();
        pass();
        _maybeStop();
        for (uint16 s = 1; s < 5; ++s) {
            sealUpdateCheck(s, TRUE);
        }
        assertPhase(Phase.UpdateOpen);
        _maybeStop();
        open(Stage.Update, TASKS, 1, TRUE);
        for (uint16 s = 1; s < 5; ++s) {
            open(Stage.UpdateCheck, TASKS, s, TRUE);
        }
        assertPhase(Phase.UpdateChallenge);
        _maybeStop();
        _challenge();
        pass();
        assertPhase(Phase.UpdateVerdictDraw);
        _maybeStop();
        pass();
        _maybeStop();
        for (uint16 seat = 0; seat < 3; ++seat) {
            sealPanel(TASKS, seat, TRUE);
        }
        assertPhase(Phase.UpdateVerdictOpen);
        _maybeStop();
        for (uint16 seat = 0; seat < 3; ++seat) {
            openPanel(TASKS, seat, TRUE);
        }
        pass();
        assertEq(number(), 1, "the round is over");
    }

    /// @dev By the first verifier that sealed nothing about the update.
    function _challenge() private {
        for (uint256 i = 0; i < verifiers.length; ++i) {
            bool sits = false;
            for (uint16 s = 0; s < 5; ++s) {
                if (holder(Stage.UpdateCheck, TASKS, s) == verifiers[i]) sits = true;
            }
            if (!sits) return challenge(TASKS, verifiers[i], LIE);
        }
    }

    function _maybeStop() private {
        ++_reached;
        if (uint256(phase()) != _stopAt) return;
        vm.prank(requester);
        market.stop(job);
    }

    function _credits() private view returns (uint256 sum) {
        for (uint256 i = 0; i < workers.length; ++i) {
            sum += vault.creditOf(workers[i]);
        }
        for (uint256 i = 0; i < verifiers.length; ++i) {
            sum += vault.creditOf(verifiers[i]);
        }
        sum += vault.creditOf(coordinatorOwner);
    }
}
