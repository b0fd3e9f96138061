"""Hands calls to the sender: a batch as one transaction, its parts alone where that does not work.

Whoever opens one part of a batch first, or claims one of its tasks, makes all of it revert. So a
batch that the chain refuses, or that failed there once, goes out part by part: one bad part holds
up no other, and nobody can spoil a batch twice.
"""

from collections.abc import Callable

import structlog

from protocol.chain.client import Call
from protocol.chain.errors import ContractRejected
from protocol.chain.tx_sender import TxSender
from protocol.role.actions import BATCHED, Send, batch_prefix

log = structlog.get_logger()


class Outbox:
    """Where a role's calls of the market leave it; `acted` hears of each: `done` or `refused`."""

    def __init__(self, sender: TxSender, acted: Callable[[str, str], None]) -> None:
        self.sender = sender
        self.market = sender.chain.market
        self.acted = acted

    def send(self, call: Send) -> None:
        """Send a call, or as much of a batch as the chain takes; once per key.

        Raises ContractRejected where a call that is no batch would be refused now.
        """
        earlier = self._earlier_batches(call)
        if "sent" in earlier:
            # It may hold the same parts, and nothing of this key is mined before it in any case.
            return
        if call.parts and "reverted" in earlier:
            self._send_parts(call)
            return
        fresh = self.sender.state(call.key) in (None, "reverted")
        if fresh:
            log.info(call.function, args=_short(call.args))
        try:
            self.sender.submit(call.key, Call(self.market, call.function, call.args))
        except ContractRejected as error:
            if not call.parts:
                raise
            log.info("a batch is refused, its parts go alone", error=str(error))
            self._send_parts(call)
            return
        if fresh:
            self.acted(call.function, "done")

    def _send_parts(self, batch: Send) -> None:
        for part in batch.parts:
            try:
                self.send(part)
            except ContractRejected as error:
                log.info("not sent", error=str(error))
                self.acted(part.function, "refused")

    def _earlier_batches(self, call: Send) -> set[str]:
        """What became of the batches of this function in this place."""
        if call.function not in BATCHED:
            return set()
        return self.sender.journal.states(batch_prefix(call.function, call.args[:-1]))


def _short(args: tuple[object, ...]) -> str:
    """Arguments for the log: hashes by their first digits, tuples flattened."""
    shown = []
    for value in args:
        if isinstance(value, tuple):
            shown.append(_short(value))
        else:
            shown.append(value.hex()[:8] if isinstance(value, bytes) else str(value))
    return " ".join(shown)
