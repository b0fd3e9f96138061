"""Sending transactions so that a crash neither loses nor repeats one.

One writer per key. A row (idempotency key, nonce, signed bytes, hash, fees, state) is stored before
the bytes leave the machine; after a restart the row is broadcast again. The call is tried first
with `eth_call`, so a refusal costs nothing and arrives as ContractRejected with the contract's
values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from eth_account.signers.local import LocalAccount
from eth_typing import HexStr
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError

from protocol.chain.client import Call, Chain
from protocol.chain.errors import InsufficientFunds, TransactionFailed
from protocol.chain.refusals import refusal
from protocol.database.tables import TransactionRow
from protocol.rules.records import Address

log = structlog.get_logger()

GAS_MARGIN = 2_000_000
"""Added to every estimate: a call that comes last in its phase also moves the round."""
STUCK_BLOCKS = 8
"""After so many blocks without a receipt the fees are raised."""
BUMP_PERCENT = 15


@dataclass(frozen=True, slots=True)
class Tally:
    """Transactions of one key by state, and the block in which the oldest one under way left."""

    counts: Mapping[str, int]
    oldest: int | None


class TxSender:
    """The only writer of one key on one chain."""

    def __init__(self, chain: Chain, account: LocalAccount, engine: Engine) -> None:
        self.chain = chain
        self.account = account
        self.address = Address(account.address)
        self.engine = engine
        for row in self._under_way():
            self._broadcast(row.raw)  # stored before a crash, perhaps never sent

    def submit(self, key: str, call: Call) -> None:
        """Send `call` unless `key` was sent before and stands; returns without waiting.

        Raises ContractRejected where the chain would refuse it now, InsufficientFunds for gas.
        """
        with Session(self.engine) as session:
            row = session.get(TransactionRow, key)
            attempt = 1 if row is None else row.attempt + 1
        if row is not None and row.state != "reverted":
            if row.state == "mined" and self._receipt(row) is None:
                # A reorganisation took the block away: the same bytes go out again.
                self._mark(key, "sent")
                self._broadcast(row.raw)
            return
        # The pending block sees this key's own transactions that are still under way.
        self.chain.attempt(call, sender=self.address, block="pending")
        self._store_and_send(key, call, attempt)

    def settle(self) -> list[str]:
        """Look for receipts of what is under way; returns the keys that were mined since last time.

        What has been without one for a while goes out again with higher fees. What can never get
        one, because its nonce went to something else, counts as reverted.
        """
        done: list[str] = []
        head = self.chain.head()
        for row in self._under_way():
            receipt = self._receipt(row)
            if receipt is not None:
                self._mark(row.key, "mined" if receipt["status"] == 1 else "reverted")
                done.append(row.key)
                if receipt["status"] != 1:
                    log.warning("transaction reverted", key=row.key, hash=row.hashes[-1])
            elif head - row.sent_block >= STUCK_BLOCKS:
                if row.nonce < self._nonce_on_chain():
                    log.warning("transaction lost its nonce", key=row.key, nonce=row.nonce)
                    self._mark(row.key, "reverted")
                else:
                    self._bump(row, head)
        return done

    def state(self, key: str) -> str | None:
        """sent, mined, reverted, or None where the key was never used."""
        with Session(self.engine) as session:
            row = session.get(TransactionRow, key)
            return None if row is None else row.state

    def tally(self) -> Tally:
        """What this key has sent so far."""
        query = (
            select(TransactionRow.state, func.count(), func.min(TransactionRow.sent_block))
            .where(TransactionRow.sender == self.address)
            .group_by(TransactionRow.state)
        )
        with Session(self.engine) as session:
            rows = {state: (count, oldest) for state, count, oldest in session.execute(query)}
        counts = {state: count for state, (count, _) in rows.items()}
        return Tally(counts, rows["sent"][1] if "sent" in rows else None)

    def states(self, prefix: str) -> set[str]:
        """What became of all transactions whose keys begin with `prefix`."""
        query = select(TransactionRow.state).where(
            TransactionRow.sender == self.address,
            TransactionRow.key.startswith(prefix, autoescape=True),
        )
        with Session(self.engine) as session:
            return set(session.scalars(query))

    def wait(self, key: str, *, polls: int = 300) -> str:
        """Wait for one transaction; returns its hash or raises TransactionFailed."""
        for _ in range(polls):
            self.settle()
            state = self.state(key)
            if state == "mined":
                with Session(self.engine) as session:
                    return session.get_one(TransactionRow, key).hashes[-1]
            if state != "sent":
                break
            self.chain._sleep(0.1)
        raise TransactionFailed(
            f"the transaction {key} did not go through",
            why=f"Its state is {self.state(key)}.",
            fix="Look at the chain's head and at this key's balance, then try again.",
        )

    def send(self, key: str, call: Call) -> str:
        """submit and wait."""
        self.submit(key, call)
        return self.wait(key)

    def _store_and_send(self, key: str, call: Call, attempt: int) -> None:
        chain = self.chain
        bound = call.contract.get_function_by_name(call.function)(*call.args)
        head = chain.retrying(lambda: chain.web3.eth.get_block("latest"))
        tip = 10**9
        fields: dict[str, Any] = {
            "chainId": chain.deployment.chain_id,
            "nonce": self._next_nonce(),
            "to": call.contract.address,
            "value": 0,
            "data": bound._encode_transaction_data(),
            "gas": self._estimate(call, bound) + GAS_MARGIN,
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * head["baseFeePerGas"] + tip,
        }
        holder = Web3.to_checksum_address(self.address)
        balance = chain.retrying(lambda: int(chain.web3.eth.get_balance(holder)))
        needed = fields["gas"] * fields["maxFeePerGas"]
        if balance < needed:
            raise InsufficientFunds(self.address, "wei for gas", balance, needed)
        signed = self.account.sign_transaction(fields)
        with Session(self.engine) as session, session.begin():
            session.merge(
                TransactionRow(
                    key=key,
                    sender=self.address,
                    nonce=fields["nonce"],
                    raw=bytes(signed.raw_transaction),
                    hashes=["0x" + bytes(signed.hash).hex()],
                    fields={**fields, "function": call.function},
                    state="sent",
                    attempt=attempt,
                    sent_block=head["number"],
                )
            )
        self._broadcast(bytes(signed.raw_transaction))

    def _estimate(self, call: Call, bound: ContractFunction) -> int:
        try:
            return self.chain.retrying(
                lambda: int(bound.estimate_gas({"from": self.address}, "pending"))
            )
        except ContractLogicError as error:
            # The block turned since the call was tried.
            raise refusal(call.function, error) from None

    def _nonce_on_chain(self) -> int:
        eth, holder = self.chain.web3.eth, Web3.to_checksum_address(self.address)
        return self.chain.retrying(lambda: int(eth.get_transaction_count(holder, "latest")))

    def _next_nonce(self) -> int:
        with Session(self.engine) as session:
            used = session.scalar(
                select(func.max(TransactionRow.nonce)).where(
                    TransactionRow.sender == self.address, TransactionRow.state == "sent"
                )
            )
        return max(self._nonce_on_chain(), 0 if used is None else used + 1)

    def _broadcast(self, raw: bytes) -> None:
        def send() -> None:
            try:
                self.chain.web3.eth.send_raw_transaction(raw)
            except Web3RPCError as error:
                # The row is stored: what the node has already, or has mined, is what we want.
                known = ("already known", "already imported", "nonce too low")
                if not any(text in str(error) for text in known):
                    raise

        self.chain.retrying(send)  # the same bytes twice are one transaction

    def _under_way(self) -> list[TransactionRow]:
        query = select(TransactionRow).where(
            TransactionRow.sender == self.address, TransactionRow.state == "sent"
        )
        with Session(self.engine) as session:
            return list(session.scalars(query.order_by(TransactionRow.nonce)))

    def _receipt(self, row: TransactionRow) -> Any:
        """Receipt of whichever version was mined; a bumped one shares its nonce with the first."""
        for sent in reversed(row.hashes):
            receipt = self.chain.retrying(partial(self._receipt_of, HexStr(sent)))
            if receipt is not None:
                return receipt
        return None

    def _receipt_of(self, sent: HexStr) -> Any:
        try:
            return self.chain.web3.eth.get_transaction_receipt(sent)
        except TransactionNotFound:
            return None

    def _bump(self, row: TransactionRow, head: int) -> None:
        fields = dict(row.fields)
        function = fields.pop("function")
        for name in ("maxPriorityFeePerGas", "maxFeePerGas"):
            fields[name] = fields[name] * (100 + BUMP_PERCENT) // 100 + 1
        signed = self.account.sign_transaction(fields)
        log.info("raising the fees of a stuck transaction", key=row.key, nonce=row.nonce)
        with Session(self.engine) as session, session.begin():
            stored = session.get_one(TransactionRow, row.key)
            stored.raw = bytes(signed.raw_transaction)
            stored.hashes = [*row.hashes, "0x" + bytes(signed.hash).hex()]
            stored.fields = {**fields, "function": function}
            stored.sent_block = head
        self._broadcast(bytes(signed.raw_transaction))

    def _mark(self, key: str, state: str) -> None:
        with Session(self.engine) as session, session.begin():
            session.get_one(TransactionRow, key).state = state
