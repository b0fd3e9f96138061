"""Reading the chain into a MarketHistory that survives restarts and reorganisations.

`sync` brings the stored blocks and logs up to the newest block that has the configured
confirmations. Where a stored block is no longer on the chain, it walks back to the last common one,
forgets what came after, and folds the history again. Deleting the database and replaying gives the
same history.
"""

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from protocol.chain.client import Chain
from protocol.database.tables import BlockRow, LogRow
from protocol.rules.fold import apply
from protocol.rules.history import MarketHistory

SPAN = 2_000
"""Blocks per log query while catching up with the past."""
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
        self._refold()

    def sync(self) -> MarketHistory:
        """Read what is new; `self.block` is then the newest block the history speaks of."""
        target = self.chain.head() - (self.confirmations - 1)
        self._roll_back()
        while self.block < target - NEAR:
            if not self._read_range(self.block + 1, min(self.block + SPAN, target - NEAR)):
                return self.history
        while self.block < target:
            if not self._read_block(self.block + 1):
                self._roll_back()
                break
        return self.history

    def _read_range(self, first: int, last: int) -> bool:
        header = self.chain.header(last)
        if header is None:
            return False  # another endpoint behind the same address lags: the next sync goes on
        self._keep(last, header[0], self.chain.logs(first, last))
        return True

    def _read_block(self, number: int) -> bool:
        header = self.chain.header(number)
        if header is None:
            return False
        block_hash, parent = header
        known = self._hash_of(number - 1)
        if known is not None and known != parent:
            return False
        self._keep(number, block_hash, self.chain.logs_of_block(block_hash))
        return True

    def _keep(self, number: int, block_hash: bytes, logs: list[dict[str, object]]) -> None:
        with Session(self.engine) as session, session.begin():
            session.merge(BlockRow(number=number, hash=block_hash))
            for raw in logs:
                session.merge(
                    LogRow(
                        block_hash=bytes.fromhex(str(raw["blockHash"])[2:]),
                        log_index=int(str(raw["logIndex"]), 16),
                        block_number=int(str(raw["blockNumber"]), 16),
                        raw=raw,
                    )
                )
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
                header = self.chain.header(row.number)
                if header is not None and header[0] == row.hash:
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
        self.history = MarketHistory(remember=self.remember)
        with Session(self.engine) as session:
            newest = session.scalar(select(func.max(BlockRow.number)))
            self.block = self.chain.deployment.block - 1 if newest is None else newest
            query = select(LogRow.raw).order_by(LogRow.block_number, LogRow.log_index)
            for raw in session.scalars(query.execution_options(yield_per=1000)):
                apply(self.history, self.chain.decode(raw))
