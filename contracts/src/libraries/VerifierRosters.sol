// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {MAX_VERIFIERS, VerifierRoster, VerifierSlot} from "../types/State.sol";

/// @title All verifiers of the market, epoch by epoch.
/// @notice Every change is checkpointed at the next epoch, so a round sees the roster of its opening for ever.
library VerifierRosters {
    using Checkpoints for Checkpoints.Trace208;

    /// @notice Appends a slot to the rosters from epoch `from` on.
    function add(VerifierRoster storage roster, address provider, address operator, uint64 from)
        internal
        returns (uint32 slot)
    {
        uint256 size = roster.size.latest();
        if (size >= MAX_VERIFIERS) revert IJobMarket.RosterFull(size);
        slot = ++roster.slotCount;
        VerifierSlot storage added = roster.slots[slot];
        added.provider = provider;
        added.position = uint16(size);
        added.operator = operator;
        roster.slotAt[size].push(uint48(from), slot);
        roster.size.push(uint48(from), uint208(size + 1));
        Checkpoints.Trace208 storage own = roster.slotsOf[provider];
        own.push(uint48(from), own.latest() + 1);
    }

    /// @notice Takes a slot out of the rosters from epoch `from` on; the last one moves into its place.
    function remove(VerifierRoster storage roster, uint32 slot, uint64 from) internal {
        VerifierSlot storage gone = roster.slots[slot];
        uint256 last = roster.size.latest() - 1;
        uint16 position = gone.position;
        gone.leftEpoch = from;
        if (position != last) {
            uint32 moved = uint32(roster.slotAt[last].latest());
            roster.slots[moved].position = position;
            roster.slotAt[position].push(uint48(from), moved);
        }
        roster.size.push(uint48(from), uint208(last));
        Checkpoints.Trace208 storage own = roster.slotsOf[gone.provider];
        own.push(uint48(from), own.latest() - 1);
    }

    /// @notice Number of slots in the roster of an epoch.
    function sizeAt(VerifierRoster storage roster, uint64 epoch) internal view returns (uint256) {
        return roster.size.upperLookupRecent(uint48(epoch));
    }

    /// @notice Slot at a position below the size of an epoch's roster.
    function at(VerifierRoster storage roster, uint64 epoch, uint256 position)
        internal
        view
        returns (uint32 slot, address provider)
    {
        slot = uint32(roster.slotAt[position].upperLookupRecent(uint48(epoch)));
        provider = roster.slots[slot].provider;
    }

    /// @notice Whether a provider has a slot in the roster of an epoch.
    function enrolled(VerifierRoster storage roster, address provider, uint64 epoch) internal view returns (bool) {
        return roster.slotsOf[provider].upperLookupRecent(uint48(epoch)) != 0;
    }
}
