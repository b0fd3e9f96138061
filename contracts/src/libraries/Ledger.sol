// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IJobMarket} from "../interfaces/IJobMarket.sol";
import {IStakeVault} from "../interfaces/IStakeVault.sol";
import {JobId, Reason, Seal} from "../types/Types.sol";
import {Sealing} from "./Sealing.sol";

/// @notice What every movement of money is booked under.
struct Book {
    IStakeVault vault;
    JobId job;
    uint32 round;
    uint16 question;
    uint256 bond; // B
    Due due;
}

/// @notice What one account has coming, until the next account's turn: the vault hears of it once.
struct Due {
    address account;
    address operator; // whose limit the bond counted against
    uint256 bond; // to unlock
    uint256 pay; // to credit
}

/// @title Moves of money, each with the event that lets an auditor re-derive it.
library Ledger {
    using Sealing for Seal;

    function open(IStakeVault vault, JobId job, uint32 round, uint256 bond) internal pure returns (Book memory b) {
        (b.vault, b.job, b.round, b.bond) = (vault, job, round, bond);
    }

    /// @notice Tells the vault what is still due. Whoever opens a book closes it.
    function close(Book memory b) internal {
        Due memory due = b.due;
        if (due.bond != 0) b.vault.unlock(due.account, due.operator, due.bond);
        if (due.pay != 0) b.vault.credit(b.job, due.account, due.pay);
        (due.bond, due.pay) = (0, 0);
    }

    function pay(Book memory b, address account, uint256 amount, Reason why) internal {
        if (amount == 0) return;
        if (account != b.due.account) close(b);
        b.due.account = account;
        b.due.pay += amount;
        emit IJobMarket.Credited(b.job, b.round, account, b.question, why, amount);
    }

    function burn(Book memory b, uint256 amount, Reason why) internal {
        if (amount == 0) return;
        b.vault.burn(b.job, amount);
        emit IJobMarket.Burnt(b.job, b.round, b.question, why, amount);
    }

    /// @notice Moves locked bond into the job's ledger.
    function slash(Book memory b, address provider, address operator, uint256 amount, Reason why) internal {
        if (amount == 0) return;
        b.vault.slash(b.job, provider, operator, amount);
        emit IJobMarket.Slashed(b.job, b.round, provider, b.question, why, amount);
    }

    /// @notice Unlocks a seal's whole bond.
    function free(Book memory b, Seal storage s) internal {
        unlock(b, s.provider, s.operator, b.bond);
    }

    function unlock(Book memory b, address provider, address operator, uint256 amount) internal {
        Due memory due = b.due;
        if (provider != due.account || (operator != due.operator && due.bond != 0)) close(b);
        (due.account, due.operator) = (provider, operator);
        due.bond += amount;
    }

    /// @notice Slashes `amount` of a seal's bond and unlocks the rest.
    function charge(Book memory b, Seal storage s, uint256 amount, Reason why) internal returns (uint256) {
        return charge(b, s.provider, s.operator, amount, why);
    }

    /// @notice The same for a bond of B that counts against `operator`.
    function charge(Book memory b, address provider, address operator, uint256 amount, Reason why)
        internal
        returns (uint256)
    {
        slash(b, provider, operator, amount, why);
        if (amount < b.bond) unlock(b, provider, operator, b.bond - amount);
        return amount;
    }

    /// @notice Slashes a seal's whole bond: for the wrong outcome, or for none.
    function forfeit(Book memory b, Seal storage s) internal returns (uint256) {
        return charge(b, s, b.bond, s.outcome() == 0 ? Reason.Unopened : Reason.Wrong);
    }
}
