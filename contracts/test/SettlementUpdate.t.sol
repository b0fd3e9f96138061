// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../src/interfaces/IJobMarket.sol";
import {Phase, Stage} from "../src/types/Types.sol";
import {Scales} from "./support/Scales.sol";
import {vm} from "./support/Vm.sol";

/// @notice Every way an update can come out, to the last unit, from the phase Update of an honest round on.
contract SettlementUpdateTest is Scales {
    int256 private constant u = int256(uint256(U));
    int256 private constant b = int256(uint256(B));
    int256 private constant c = int256(uint256(C));
    uint256 private constant TENTH = B / 10;
    uint16 private constant Q = TASKS;

    address[5] private seats; // three gatherers, two drawn
    address[3] private members; // the panel

    function setUp() public {
        // So many that no panel seat runs out of eligible holders.
        deploy(4, 24);
        openRound();
        honestToGather();
        weigh();
        dueForOthers(NOBODY);
        gatherAll();
        pass();
        assertPhase(Phase.Update);
        for (uint16 s = 0; s < 3; ++s) {
            seats[s] = holder(Stage.UpdateCheck, Q, s);
        }
    }

    // --- nothing to settle ---

    function test_lateCoordinator_keepsItsBond_gatherersArePaid() public {
        _dueSeats([u, u, u, 0, 0]);
        pass();
        assertPhase(Phase.Succession);
        pass();
        balance(0);
        _assertUpdate(false, true);
    }

    function test_bothDrawnUnanswered_releasesTheSeals() public {
        sealUpdate(TRUE);
        pass();
        _names();
        sealUpdateCheck(0, TRUE);
        sealUpdateCheck(1, LIE);
        pass();
        _dueSeats([u, u, u, 0, 0]);
        balance(0);
        _assertUpdate(false, true);
    }

    // --- agreed ---

    function test_silentSeats_areNotPaid() public {
        sealUpdate(TRUE);
        pass();
        _names();
        for (uint16 s = 1; s < 4; ++s) {
            sealUpdateCheck(s, TRUE);
        }
        pass();
        open(Stage.Update, Q, 0, TRUE);
        for (uint16 s = 1; s < 4; ++s) {
            open(Stage.UpdateCheck, Q, s, TRUE);
        }
        pass();
        due(coordinatorOwner, u);
        _dueSeats([int256(0), u, u, u, 0]);
        balance(0);
        _assertUpdate(true, true);
    }

    function test_agreedNonFinite_isPaid_andCountsAsNone() public {
        _checked(DIVERGED, NOBODY, TRUE);
        pass();
        due(coordinatorOwner, u);
        _dueSeats([u, u, u, u, u]);
        balance(0);
        _assertUpdate(false, true);
    }

    // --- disputes with a lead ---

    function test_wrongProposal_theVerdictIsTheUpdate_andCIsLost() public {
        _lyingProposer();
        _panel(TRUE, TRUE, TRUE);
        due(coordinatorOwner, -c);
        _dueSeats([u + int256(TENTH), u, u, u, u]);
        _dueMembers([u, u, u]);
        balance(C - 3 * U - TENTH);
        _assertUpdate(true, false);
    }

    function test_unopenedProposal_theVerdictIsTheUpdate_andCIsLost() public {
        sealUpdate(TRUE);
        pass();
        _names();
        for (uint16 s = 0; s < 5; ++s) {
            sealUpdateCheck(s, TRUE);
        }
        for (uint16 s = 0; s < 5; ++s) {
            open(Stage.UpdateCheck, Q, s, TRUE);
        }
        pass();
        _panel(TRUE, TRUE, LIE);
        due(coordinatorOwner, -c);
        _dueSeats([u + int256(TENTH), u, u, u, u]);
        _dueMembers([u, u, -b]);
        balance(uint256(C) + B - 2 * U - TENTH);
        _assertUpdate(true, false);
    }

    function test_wrongChecker_isSlashed_theProposalStands() public {
        _checked(TRUE, 4, LIE);
        _panel(TRUE, TRUE, TRUE);
        due(coordinatorOwner, u);
        _dueSeats([u, u, u, u, -b]);
        _dueMembers([u, u, u]);
        balance(B - 3 * U);
        _assertUpdate(true, true);
    }

    function test_unopenedChecker_isSlashed_theProposalStands() public {
        _sealedBy(TRUE, NOBODY, TRUE);
        open(Stage.Update, Q, 0, TRUE);
        for (uint16 s = 1; s < 5; ++s) {
            open(Stage.UpdateCheck, Q, s, TRUE);
        }
        pass();
        _panel(TRUE, TRUE, TRUE);
        due(coordinatorOwner, u);
        _dueSeats([-b, u, u, u, u]);
        _dueMembers([u, u, u]);
        balance(B - 3 * U);
        _assertUpdate(true, true);
    }

    function test_verdictNonFinite_slashesBothSides_andBringsNoUpdate() public {
        _checked(TRUE, 3, LIE);
        _panel(DIVERGED, DIVERGED, DIVERGED);
        due(coordinatorOwner, -c);
        _dueSeats([-b, -b, -b, -b, -b]);
        _dueMembers([u, u, u]);
        balance(C + 5 * uint256(B) - 3 * U);
        _assertUpdate(false, false);
    }

    // --- disputes without a lead ---

    function test_dissentWithoutLead_halvesTheCosts_endsThePost() public {
        _checked(TRUE, 1, LIE);
        _panel(TRUE, LIE, OTHER_LIE);
        due(coordinatorOwner, -((3 * u) / 2));
        _dueSeats([u, u - (3 * u - (3 * u) / 2), u, 0, 0]);
        _dueMembers([u, u, u]);
        balance(0);
        _assertUpdate(false, false);
        assertEq(vault.lockedOf(coordinatorOwner), 0, "the rest of C is free");
    }

    function test_dissentWithoutLead_unopenedProposer_paysAlone() public {
        _sealedBy(TRUE, NOBODY, TRUE);
        for (uint16 s = 0; s < 5; ++s) {
            open(Stage.UpdateCheck, Q, s, TRUE);
        }
        pass();
        _panel(TRUE, LIE, OTHER_LIE);
        due(coordinatorOwner, -c);
        _dueSeats([u, u, u, 0, 0]);
        _dueMembers([u, u, u]);
        balance(C - 3 * U);
        _assertUpdate(false, false);
    }

    function test_dissentWithoutLead_unopenedChecker_losesItsBond() public {
        _sealedBy(TRUE, NOBODY, TRUE);
        open(Stage.Update, Q, 0, TRUE);
        for (uint16 s = 1; s < 5; ++s) {
            open(Stage.UpdateCheck, Q, s, TRUE);
        }
        pass();
        _panel(TRUE, LIE, OTHER_LIE);
        due(coordinatorOwner, -((3 * u) / 2));
        _dueSeats([-b, u, u, 0, 0]);
        _dueMembers([u, u, u]);
        balance(B - (3 * U - (3 * U) / 2));
        _assertUpdate(false, false);
    }

    function test_dissentWithoutLead_onlyTheLowestDissenterShares() public {
        _sealedBy(TRUE, 1, LIE);
        open(Stage.Update, Q, 0, TRUE);
        for (uint16 s = 1; s < 5; ++s) {
            open(Stage.UpdateCheck, Q, s, s == 1 ? LIE : TRUE);
        }
        pass();
        _panel(TRUE, LIE, OTHER_LIE);
        due(coordinatorOwner, -((3 * u) / 2));
        _dueSeats([-b, u, u, 0, 0]);
        _dueMembers([u, u, u]);
        balance(B - (3 * U - (3 * U) / 2));
        _assertUpdate(false, false);
    }

    function test_dissentWithoutPanel_costsNobody() public {
        _checked(TRUE, 4, LIE);
        passTo(Phase.UpdateVerdictSeal);
        pass();
        _dueSeats([u, u, u, 0, 0]);
        balance(0);
        _assertUpdate(false, true);
    }

    // --- challenges ---

    function test_challengeRight_overturnsAnAgreedLie() public {
        _checked(LIE, NOBODY, TRUE);
        address challenger = _challengeUpdate(TRUE);
        _panelAndChallenge([TRUE, TRUE, TRUE], TRUE, true);
        due(coordinatorOwner, -c);
        _dueSeats([-b, -b, -b, -b, -b]);
        due(challenger, int256(TENTH));
        _dueMembers([u, u, u]);
        balance(C + 5 * uint256(B) - 3 * U - TENTH);
        _assertUpdate(true, false);
        assertEq(market.jobOf(job).stateRoot, outcomeOf(0, Q, TRUE).root, "the verdict is the update");
    }

    function test_challengeWrong_paysThePanel() public {
        _challengeAgainstTruth(LIE, [TRUE, TRUE, TRUE], true, [u, u, u], -b, B - 3 * U);
    }

    function test_challengeUnopened_isSlashed() public {
        _challengeAgainstTruth(LIE, [TRUE, TRUE, TRUE], false, [u, u, u], -b, B - 3 * U);
    }

    function test_challengeWithTheProposersOutcome_isSlashed() public {
        _challengeAgainstTruth(TRUE, [TRUE, TRUE, TRUE], true, [u, u, u], -b, B - 3 * U);
    }

    function test_challengeWithoutLead_theProposalStands_theChallengerPays() public {
        _challengeAgainstTruth(LIE, [TRUE, LIE, OTHER_LIE], true, [u, u, u], -3 * u, 0);
    }

    function test_challengeWithoutLead_unopened_isSlashed() public {
        _challengeAgainstTruth(LIE, [TRUE, LIE, OTHER_LIE], false, [u, u, u], -b, B - 3 * U);
    }

    function test_challengeOfTheUpdate_isRefused_twice_andFromTheCoordinator() public {
        _checked(TRUE, NOBODY, TRUE);
        address challenger = _challengeUpdate(LIE);
        vm.prank(operatorOf(challenger));
        vm.expectRevert(abi.encodeWithSelector(IJobMarket.AlreadyDisputed.selector, Q));
        market.challenge(job, 0, Q, challenger, "hash");
    }

    // --- inside ---

    function _sealedBy(uint256 proposal, uint16 seat, uint256 variant) private {
        sealUpdate(proposal);
        pass();
        _names();
        for (uint16 s = 0; s < 5; ++s) {
            sealUpdateCheck(s, s == seat ? variant : proposal);
        }
    }

    /// @dev Sealed and opened by all; checker `seat` says `variant`.
    function _checked(uint256 proposal, uint16 seat, uint256 variant) private {
        _sealedBy(proposal, seat, variant);
        openUpdate(proposal, seat, variant);
    }

    /// @dev The proposer lies, all checkers tell the truth.
    function _lyingProposer() private {
        sealUpdate(LIE);
        pass();
        _names();
        for (uint16 s = 0; s < 5; ++s) {
            sealUpdateCheck(s, TRUE);
        }
        open(Stage.Update, Q, 0, LIE);
        for (uint16 s = 0; s < 5; ++s) {
            open(Stage.UpdateCheck, Q, s, TRUE);
        }
        assertPhase(Phase.UpdateVerdictDraw);
    }

    function _names() private {
        for (uint16 s = 3; s < 5; ++s) {
            seats[s] = holder(Stage.UpdateCheck, Q, s);
            for (uint16 g = 0; g < s; ++g) {
                assertTrue(seats[s] != seats[g] && seats[s] != address(0), "drawn are others than the gatherers");
            }
        }
    }

    function _challengeUpdate(uint256 variant) private returns (address challenger) {
        for (uint256 i = 0; challenger == address(0); ++i) {
            challenger = verifiers[i];
            for (uint256 s = 0; s < 5; ++s) {
                if (seats[s] == challenger) challenger = address(0);
                if (challenger == address(0)) break;
            }
        }
        challenge(Q, challenger, variant);
    }

    function _challengeAgainstTruth(
        uint256 accusation,
        uint256[3] memory votes,
        bool opens,
        int256[3] memory gains,
        int256 gain,
        uint256 burntNow
    ) private {
        _checked(TRUE, NOBODY, TRUE);
        due(_challengeUpdate(accusation), gain);
        _panelAndChallenge(votes, accusation, opens);
        due(coordinatorOwner, u);
        _dueSeats([u, u, u, u, u]);
        _dueMembers(gains);
        balance(burntNow);
        _assertUpdate(true, true);
    }

    function _panel(uint256 x, uint256 y, uint256 z) private {
        _vote([x, y, z]);
    }

    function _panelAndChallenge(uint256[3] memory votes, uint256 accusation, bool opens) private {
        passTo(Phase.UpdateVerdictSeal);
        for (uint16 i = 0; i < 3; ++i) {
            members[i] = sealPanel(Q, i, votes[i]);
        }
        if (opens) open(Stage.UpdateChallenge, Q, 0, accusation);
        for (uint16 i = 0; i < 3; ++i) {
            openPanel(Q, i, votes[i]);
        }
        if (!opens) pass();
    }

    function _vote(uint256[3] memory votes) private {
        passTo(Phase.UpdateVerdictSeal);
        for (uint16 i = 0; i < 3; ++i) {
            members[i] = sealPanel(Q, i, votes[i]);
        }
        for (uint16 i = 0; i < 3; ++i) {
            openPanel(Q, i, votes[i]);
        }
    }

    function _dueSeats(int256[5] memory gains) private {
        for (uint16 s = 0; s < 5; ++s) {
            if (seats[s] != address(0)) due(seats[s], gains[s]);
        }
    }

    function _dueMembers(int256[3] memory gains) private {
        for (uint16 i = 0; i < 3; ++i) {
            due(members[i], gains[i]);
        }
    }

    function _assertUpdate(bool accepted, bool postKept) private view {
        assertEq(number(), 1, "the round is over");
        assertEq(market.jobOf(job).updates, accepted ? 1 : 0, "updates");
        assertEq(market.jobOf(job).failedRounds, accepted ? 0 : 1, "failed rounds");
        assertEq(market.jobOf(job).coordinatorProvider, postKept ? coordinatorOwner : address(0), "the post");
    }
}
