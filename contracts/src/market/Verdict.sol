// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {Bits} from "../libraries/Bits.sol";
import {Openings} from "../libraries/Openings.sol";
import {SealRef} from "../libraries/Sealing.sol";
import {Seats} from "../libraries/Seats.sol";
import {Job, Round} from "../types/State.sol";
import {JobId, Outcome, Phase, Stage} from "../types/Types.sol";
import {MarketStorage} from "./MarketStorage.sol";

/// @title Verdict: drawn panels seal, then open outcome and witness. The seam where a referee contract may go.
abstract contract Verdict is MarketStorage {
    using Bits for uint256;

    /// @inheritdoc IJobMarket
    function sealPanel(JobId id, uint32 round, uint16 question, uint16 seat, bytes32 hash) external inRound(id, round) {
        (Job storage job, Round storage r) = _open(id);
        bool ofUpdate = question == job.terms.tasks;
        _requirePhase(id, r, ofUpdate ? Phase.UpdateVerdictSeal : Phase.VerdictSeal);
        if (!ofUpdate && !r.disputed.has(question)) revert NotDrawn(question);
        if (seat >= job.terms.panel) revert NotYourSeat(question, seat, address(0));
        Stage stage = ofUpdate ? Stage.UpdatePanel : Stage.Panel;
        (, address provider) = Seats.holder(_store, id, stage, question, seat, 0);
        _requireSeat(question, seat, provider);
        if (!r.verdicts[question].counted) {
            r.verdicts[question].counted = true;
            --r.untouched;
            r.seatsLeft += Seats.fillable(_store, id, question);
        }
        --r.seatsLeft;
        ++r.panelUnopened;
        _seal(id, stage, question, seat, provider, hash);
    }

    /// @inheritdoc IJobMarket
    function openPanel(
        JobId id,
        uint32 round,
        uint16 question,
        uint16 seat,
        bytes32 root,
        bytes32 cid,
        bytes32 witness,
        bytes32 salt
    ) external inRound(id, round) {
        Stage stage = question == _store.jobs[id].terms.tasks ? Stage.UpdatePanel : Stage.Panel;
        Openings.openPanel(_store, SealRef(id, round, question, stage), seat, Outcome(root, cid, 0), witness, salt);
    }
}
