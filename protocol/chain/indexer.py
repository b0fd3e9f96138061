"""Reading the chain into a MarketHistory that survives restarts and reorganisations.

`sync` brings the stored blocks and logs up to the newest block that has the configured
confirmations. Where a stored block is no longer on the chain, it walks back to the last common one,
forgets what came after, and folds the history again. Deleting the database and replaying gives the
same history. INVARIANT: an endpoint that does not have a block says nothing about it: neither that
it is gone, nor that it holds no logs.
"""

from copy import deepcopy
from typing import Any

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from protocol.chain.client import Chain
from protocol.chain.endpoints import TOLERATED
from protocol.chain.errors import ChainDown, ChainError, StaleHead
from protocol.database.tables import BlockRow, LogRow
from protocol.rules.fold import apply
from protocol.rules.history import MarketHistory

SPAN = 2_000
"""Most blocks per log query while catching up with the past; halved where an endpoint refuses."""
NEAR = 64
"""Blocks below the head that are read one by one, by hash, because they may still change."""


class Indexer:
    """One reader of one market; not thread-safe. `remember` is the history's."""

    def __init__(
        self,
        chain: Chain,
        engine: Engine,
        *,
        confirmations: int = 1,
        remember: int | None = None,
    ) -> None:
        assert confirmations >= 1
        self.chain = chain
        self.engine = engine
        self.confirmations = confirmations
        self.remember = remember
        self.history = MarketHistory(remember=remember)
        self.block = chain.deployment.block - 1
        self._span = SPAN
        self._copies: list[tuple[int, MarketHistory]] = []
        self._refold()
        self.head = self.block

    def sync(self) -> MarketHistory:
        """Read what is new; `self.block` is then the newest block the history speaks of.

        `self.head` is the newest one there is. Raises StaleHead where the endpoint shows an older
        state of the same chain.
        """
        head = self.chain.head()
        target = head - (self.confirmations - 1)
        if head < self.block and self._is_same_chain(head):
            if self.block - head > TOLERATED:
                why = f"Its newest block is {head}; what is stored here ends with {self.block}."
                raise StaleHead(self.chain.endpoints.name, self.block - head, why)
            return self.history
        self.head = head
        self._roll_back()
        while self.block < target - NEAR:
            self._read_range(self.block + 1, min(self.block + self._span, target - NEAR))
        while self.block < target:
            if not self._read_block(self.block + 1):
                self._roll_back()
                break
        return self.history

    def _is_same_chain(self, head: int) -> bool:
        """Whether the newest stored block that the endpoint can have is the one that it has."""
        query = select(BlockRow).where(BlockRow.number <= head).order_by(BlockRow.number.desc())
        with Session(self.engine) as session:
            row = session.scalar(query.limit(1))
        return row is not None and self._is_there(row, head)

    def _is_there(self, row: BlockRow, head: int) -> bool:
        """Whether the chain still has a stored block; raises StaleHead where it cannot be told."""
        header = self.chain.header(row.number)
        if header is None and row.number <= head:
            raise self._lacks(row.number, head)
        return header is not None and header[0] == row.hash

    def _lacks(self, number: int, head: int) -> StaleHead:
        """Of several endpoints, or several behind one address, one was asked that lags."""
        url = self.chain.endpoints.name
        return StaleHead(url, head - number + 1, f"It does not have block {number}.")

    def _read_range(self, first: int, last: int) -> None:
        header = self.chain.header(last)
        if header is None:
            raise self._lacks(last, self.head)
        try:
            logs = self.chain.logs(first, last)
        except ChainDown:
            raise
        except ChainError:
            if first == last:
                raise
            self._span = max((last - first + 1) // 2, 1)  # too many logs or blocks for one reply
            return
        # An endpoint that took over may have answered with the part of the range that it has.
        if self.chain.header(last) != header:
            raise self._lacks(last, self.head)
        self._keep(last, header[0], logs)
        self._span = min(2 * self._span, SPAN)

    def _read_block(self, number: int) -> bool:
        header = self.chain.header(number)
        if header is None:
            return False
        block_hash, parent = header
        known = self._hash_of(number - 1)
        if known is not None and known != parent:
            return False
        logs = self.chain.logs_of_block(block_hash)
        if self.chain.header(number) != header:
            return False
        self._keep(number, block_hash, logs)
        self._copy()
        return True

    def _copy(self) -> None:
        """Two copies of the history, at least NEAR blocks apart: a fork need not fold a year again.

        Only of a history that forgets: one that grows for ever would take ever longer to copy.
        """
        newest = self._copies[-1][0] if self._copies else 0
        if self.remember is not None and self.block >= newest + NEAR:
            self._copies = [*self._copies[-1:], (self.block, deepcopy(self.history))]

    def _keep(self, number: int, block_hash: bytes, logs: list[dict[str, Any]]) -> None:
        rows = [
            {
                "block_hash": bytes.fromhex(raw["blockHash"][2:]),
                "log_index": int(raw["logIndex"], 16),
                "block_number": int(raw["blockNumber"], 16),
                "raw": raw,
            }
            for raw in logs
        ]
        dialect = postgresql if self.engine.dialect.name == "postgresql" else sqlite
        with Session(self.engine) as session, session.begin():
            session.merge(BlockRow(number=number, hash=block_hash))
            if rows:
                session.execute(dialect.insert(LogRow).on_conflict_do_nothing(), rows)
        for raw in logs:
            apply(self.history, self.chain.decode(raw))
        self.block = number

    def _hash_of(self, number: int) -> bytes | None:
        with Session(self.engine) as session:
            row = session.get(BlockRow, number)
            return None if row is None else row.hash

    def _roll_back(self) -> None:
        """Forget stored blocks that the chain no longer has."""
        newest = select(BlockRow).order_by(BlockRow.number.desc()).limit(1)
        floor, forgotten = -1, False
        with Session(self.engine) as session, session.begin():
            while (row := session.scalar(newest)) is not None:
                if self._is_there(row, self.head):
                    floor = row.number
                    break
                forgotten = True
                session.delete(row)
                session.flush()
            if forgotten:
                session.execute(delete(LogRow).where(LogRow.block_number > floor))
        if forgotten:
            self._refold()

    def _refold(self) -> None:
        with Session(self.engine) as session:
            newest = session.scalar(select(func.max(BlockRow.number)))
            self.block = self.chain.deployment.block - 1 if newest is None else newest
            self._copies = [copy for copy in self._copies if copy[0] <= self.block]
            since, self.history = -1, MarketHistory(remember=self.remember)
            if self._copies:
                since, self.history = deepcopy(self._copies[-1])
            query = select(LogRow.raw).where(LogRow.block_number > since)
            query = query.order_by(LogRow.block_number, LogRow.log_index)
            for raw in session.scalars(query.execution_options(yield_per=1000)):
                apply(self.history, self.chain.decode(raw))
