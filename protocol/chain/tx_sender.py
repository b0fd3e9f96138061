"""Sending transactions so that a crash neither loses nor repeats one.

One writer per key. A row (idempotency key, nonce, signed bytes, hash, fees, state) is stored before
the bytes leave the machine; after a restart the row is broadcast again. The call is tried first
with `eth_call`, so a refusal costs nothing and arrives as ContractRejected with the contract's
values.
"""

from typing import Any

import structlog
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, Web3RPCError

from protocol.chain.client import Call, Chain
from protocol.chain.errors import (
    ChainDown,
    ChainError,
    ContractRejected,
    FeeTooHigh,
    InsufficientFunds,
    TransactionFailed,
    TransactionReverted,
)
from protocol.chain.fees import FeePolicy, Offer
from protocol.chain.freshness import fresh_head
from protocol.chain.journal import Journal, Signed
from protocol.chain.key_lock import lock_key
from protocol.chain.receipts import Doubt, Receipt, find_receipt
from protocol.chain.refusals import refusal
from protocol.database.tables import TransactionRow
from protocol.rules.records import Address

log = structlog.get_logger()

GAS_MARGIN = 2_000_000
"""Added to every estimate: a call that comes last in its phase also moves the round."""
GAS_OF_AN_ACT = 3_000_000
"""What must be affordable before work begins whose result has to be sent."""
RESEND_BLOCKS = 2
"""After so many blocks without a receipt the same bytes go out again: a node may have lost them."""
STUCK_BLOCKS = 8
"""After so many blocks without a receipt the fees are raised."""
_GAS_OF_A_TRANSFER = 21_000
_KNOWN = (
    *("already known", "alreadyknown", "known transaction", "already imported"),
    *("nonce too low", "oldnonce", "underpriced", "could not replace existing"),
)
"""What nodes say, in lower case, of bytes that they have, or of a nonce that a version of ours has
taken: geth, reth and anvil "already known", "nonce too low" and "replacement transaction
underpriced", Besu "Known transaction", Nethermind "AlreadyKnown" and "OldNonce"."""


class TxSender:
    """The only writer of one key on one chain; raises KeyInUse where another process is it."""

    def __init__(
        self,
        chain: Chain,
        account: LocalAccount,
        engine: Engine,
        policy: FeePolicy = FeePolicy(),  # noqa: B008 -- frozen
    ) -> None:
        self.chain = chain
        self.account = account
        self.address = Address(account.address)
        self.journal = Journal(engine, self.address)
        self.policy = policy
        self._lock = lock_key(chain.genesis().hex()[:32], account.address, engine)
        for row in self.journal.under_way():
            self._resend(row)  # stored before a crash, perhaps never sent

    def submit(self, key: str, call: Call) -> None:
        """Send `call` unless `key` was sent before and stands; returns without waiting.

        Raises ContractRejected where the chain would refuse it now, StaleHead where it is the past
        that would, InsufficientFunds for gas, FeeTooHigh.
        """
        row = self.journal.find(key)
        if row is not None and row.state != "reverted":
            if row.state == "mined" and self._receipt(row) is None:
                # A reorganisation took the block away: the same bytes go out again.
                self.journal.mark(key, "sent")
                self._broadcast(row.raw)
            return
        try:
            # The pending block sees this key's own transactions that are still under way.
            self.chain.attempt(call, sender=self.address, block="pending")
        except ContractRejected:
            fresh_head(self.chain)
            raise
        self._store_and_send(key, call, 1 if row is None else row.attempt + 1)

    def require_gas(self) -> None:
        """Raise InsufficientFunds unless one more act can be paid for: before work is done."""
        self._require(GAS_OF_AN_ACT * self.policy.offer(self.chain).cap)

    def affordable(self) -> int:
        """How many acts the balance pays for at the present fees; 0 where these are too high."""
        try:
            price = GAS_OF_AN_ACT * self.policy.offer(self.chain).cap
        except FeeTooHigh:
            return 0
        return self.chain.balance(self.address) // price

    def settle(self) -> list[str]:
        """Look for receipts of what is under way; returns the keys that were mined since last time.

        What has been without one for a while goes out again, then with higher fees. What can never
        get one, because its nonce went to something else, counts as reverted. Raises KeyInUse
        where another machine took the key while a shared database was away.
        """
        self._lock.renew()
        done: list[str] = []
        rows = self.journal.under_way()
        head = self.chain.head() if rows else 0
        for row in rows:
            receipt = self._receipt(row)
            if isinstance(receipt, Receipt):
                state = "mined" if receipt.succeeded else "reverted"
                self.journal.mark(row.key, state, receipt.hash)
                done.append(row.key)
                if not receipt.succeeded:
                    log.warning("transaction reverted", key=row.key, hash=receipt.hash)
            elif receipt is None and head - row.sent_block >= STUCK_BLOCKS:
                self._unstick(row, rows[0])
            elif receipt is None and head - row.sent_block >= RESEND_BLOCKS:
                self._resend(row)
        return done

    def state(self, key: str) -> str | None:
        """sent, mined, reverted, or None where the key was never used."""
        row = self.journal.find(key)
        return None if row is None else row.state

    def wait(self, key: str, *, polls: int = 300) -> str:
        """Wait for one transaction; returns its hash.

        Raises TransactionReverted, or TransactionFailed where it is not mined in time.
        """
        row = None
        for _ in range(polls):
            self.settle()
            row = self.journal.find(key)
            if row is None:
                break
            if row.state == "mined":
                return row.hashes[-1]
            if row.state == "reverted":
                raise TransactionReverted(key, self._why_reverted(row))
            self.chain._sleep(0.1)
        raise TransactionFailed(
            f"the transaction {key} did not go through",
            why=f"Its state is {None if row is None else row.state}.",
            fix="Look at the chain's head and at this key's balance, then try again.",
        )

    def send(self, key: str, call: Call) -> str:
        """submit and wait."""
        self.submit(key, call)
        return self.wait(key)

    # --- one transaction ---

    def _store_and_send(self, key: str, call: Call, attempt: int) -> None:
        bound = call.contract.get_function_by_name(call.function)(*call.args)
        fields: dict[str, Any] = {
            "chainId": self.chain.deployment.chain_id,
            "nonce": max(self.chain.nonce(self.address), self.journal.next_nonce()),
            "to": call.contract.address,
            "value": 0,
            "data": bound._encode_transaction_data(),
            "gas": self._estimate(call, bound) + GAS_MARGIN,
            **self.policy.offer(self.chain).fields(),
        }
        self._require(fields["gas"] * fields["maxFeePerGas"])
        self._store(key, {**fields, "function": call.function}, attempt)

    def _store(self, key: str, fields: dict[str, Any], attempt: int) -> None:
        """Sign, store, then send. INVARIANT: what leaves this machine is in the database."""
        head = self.chain.head()
        signed = self.account.sign_transaction({k: v for k, v in fields.items() if k != "function"})
        raw, sent = bytes(signed.raw_transaction), "0x" + bytes(signed.hash).hex()
        self.journal.keep(key, Signed(fields, raw, sent, head), attempt)
        self._broadcast(raw)

    def _require(self, needed: int) -> None:
        """A node counts what is under way against the balance, too."""
        rows = self.journal.under_way()
        needed += sum(row.fields["gas"] * row.fields["maxFeePerGas"] for row in rows)
        balance = self.chain.balance(self.address)
        if balance < needed:
            raise InsufficientFunds(self.address, "wei for gas", balance, needed)

    def _estimate(self, call: Call, bound: ContractFunction) -> int:
        try:
            return self.chain.retrying(
                lambda: int(bound.estimate_gas({"from": self.address}, "pending"))
            )
        except ContractLogicError as error:
            # The block turned since the call was tried.
            raise refusal(call.function, error) from None

    def _broadcast(self, raw: bytes) -> None:
        def send() -> None:
            try:
                self.chain.web3.eth.send_raw_transaction(raw)
            except Web3RPCError as error:
                # The row is stored: what the node has already, or has mined, is what we want.
                if not any(text in str(error).lower() for text in _KNOWN):
                    raise

        self.chain.retrying(send)  # the same bytes twice are one transaction

    def _resend(self, row: TransactionRow) -> None:
        """Broadcast what is stored; where a node refuses it now, `settle` sees to it later."""
        try:
            self._broadcast(row.raw)
        except ChainDown:
            raise
        except ChainError as error:
            log.warning("not sent again", key=row.key, error=str(error))

    # --- what has become of it ---

    def _receipt(self, row: TransactionRow) -> Receipt | Doubt | None:
        return find_receipt(self.chain, row.hashes, self.address, row.nonce)

    def _unstick(self, row: TransactionRow, oldest: TransactionRow) -> None:
        used = self.chain.nonce(self.address)
        if row.nonce < used:
            log.warning("transaction lost its nonce", key=row.key, nonce=row.nonce)
            self.journal.mark(row.key, "reverted")
            return
        for missing in range(used, oldest.nonce):
            self._fill(missing)
        if not self._bump(row):
            self._resend(row)

    def _fill(self, nonce: int) -> None:
        """Use up a nonce that nothing of ours has, and for whose sake all later ones wait."""
        log.warning("filling a gap between nonces", nonce=nonce)
        fields: dict[str, Any] = {
            "chainId": self.chain.deployment.chain_id,
            "nonce": nonce,
            "to": self.address,
            "value": 0,
            "data": "0x",
            "gas": _GAS_OF_A_TRANSFER,
            **self.policy.offer(self.chain).fields(),
            "function": "fill",
        }
        self._store(f"fill/{self.address}/{nonce}", fields, 1)

    def _bump(self, row: TransactionRow) -> bool:
        """Send it with higher fees; False where none can be offered."""
        old = Offer(row.fields["maxFeePerGas"], row.fields["maxPriorityFeePerGas"])
        new = self.policy.raised(old, self.chain)
        if new is None:
            log.error("a stuck transaction offers all that is allowed", key=row.key, cap=old.cap)
            return False
        if self.chain.balance(self.address) < row.fields["gas"] * new.cap:
            log.error("no ether is left to raise the fees of a stuck transaction", key=row.key)
            return False
        log.info("raising the fees of a stuck transaction", key=row.key, nonce=row.nonce)
        self._store(row.key, {**row.fields, **new.fields()}, row.attempt)
        return True

    def _why_reverted(self, row: TransactionRow) -> ContractRejected | None:
        """The contract's error, found by trying the same call on the state of now."""
        fields = row.fields
        try:
            self.chain.try_data(fields["function"], fields["to"], fields["data"], self.address)
        except ContractRejected as reason:
            return reason
        return None
