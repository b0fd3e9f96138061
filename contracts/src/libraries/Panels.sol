// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round, Verdict} from "../types/State.sol";
import {Reason, Seal, Stage} from "../types/Types.sol";
import {Book, Ledger} from "./Ledger.sol";
import {Sealing} from "./Sealing.sol";

/// @title What a panel decided, and what its members get.
library Panels {
    using Sealing for Seal;

    /// @notice Counts one opened vote; the lead is kept up to date with every vote.
    function vote(Round storage r, uint16 question, bytes32 outcome) internal {
        Verdict storage v = r.verdicts[question];
        ++v.opened;
        uint16 votes = ++r.votes[keccak256(abi.encode(question, outcome))];
        if (votes > v.votes) {
            v.leader = outcome;
            v.votes = votes;
            v.tied = false;
        } else if (votes == v.votes) {
            v.tied = true;
        }
    }

    /// @notice The outcome with more votes than any other; zero where none has.
    function leader(Round storage r, uint16 question) internal view returns (bytes32) {
        Verdict storage v = r.verdicts[question];
        return v.tied ? bytes32(0) : v.leader;
    }

    /// @notice What the opened members of a panel without a lead cost.
    function cost(Round storage r, uint16 question, uint256 fee) internal view returns (uint256) {
        return r.verdicts[question].opened * fee;
    }

    /// @notice Pays and slashes the members. With a lead its voters win; without one all that opened do.
    /// @return taken slashed bonds, now in the job's ledger
    /// @return paid fees, taken out of it
    function settle(Book memory b, Round storage r, Stage stage, uint16 seats, uint256 fee, bytes32 lead)
        internal
        returns (uint256 taken, uint256 paid)
    {
        for (uint16 seat = 0; seat < seats; ++seat) {
            Seal storage s = r.seals[Sealing.key(stage, b.question, seat)];
            if (s.hash == 0) continue;
            if (lead == 0 ? s.outcome() != 0 : s.outcome() == lead) {
                Ledger.free(b, s);
                Ledger.pay(b, s.provider, fee, Reason.PanelPaid);
                paid += fee;
            } else {
                taken += Ledger.forfeit(b, s);
            }
        }
    }

    /// @notice Pays the raiser at most a tenth of one bond out of what is left, and burns the rest.
    function divide(Book memory b, uint256 pot, address raiser) internal {
        uint256 share = b.bond / 10;
        if (raiser == address(0)) share = 0;
        else if (share > pot) share = pot;
        Ledger.pay(b, raiser, share, Reason.RaiserPaid);
        // INVARIANT: nobody profits from the rest of a slashed bond.
        Ledger.burn(b, pot - share, Reason.Remainder);
    }
}
