"""Playing whole honest rounds with the gas of every transaction read off its receipt."""

import dataclasses
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_account import Account

from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, start_anvil
from protocol.chain.client import Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.views import stored
from protocol.role.actions import BATCHED
from protocol.rules.records import Phase, Stage, Windows, bits
from tests.support.market_play import ANYBODY, Play, operator_of, person

Spent = dict[str, list[int]]
"""Gas of each transaction, by function; `open x4` is one transaction with four openings."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is played: by default 64 tasks of which 7 are checked (p = 10.9 %)."""

    tasks: int = 64
    checks: int = 7
    slots: int = 16
    rounds: int = 2
    verifiers: int = 32
    apart: bool = False  # every seal and every opening in a transaction of its own


def play_rounds(setting: Setting) -> list[Spent]:
    """What each round of a job costs, everybody honest, on a chain of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        anvil = start_anvil(Path(scratch) / "anvil.log", block_time=None)
        try:
            web3 = connect(anvil.url, DEV_CHAIN_ID)
            chain = Chain(anvil.url, deploy(web3, Account.from_key(FAUCET_KEY), DEV_CONFIG))
            play = Metered(chain, setting)
            play.raise_curtain()
            play.open_round(
                tasks=setting.tasks,
                checks=setting.checks,
                rounds=setting.rounds,
                min_workers=setting.slots,
                windows=Windows(*[300] * 11),
            )
            return [play.honest_round() for _ in range(setting.rounds)]
        finally:
            anvil.stop()


class Metered(Play):
    """A play that keeps the gas of every transaction, and lets one key's parts travel together."""

    def __init__(self, chain: Chain, setting: Setting) -> None:
        workers = [person(0x1000 + i) for i in range(setting.slots)]
        verifiers = [person(0x2000 + i) for i in range(setting.verifiers)]
        super().__init__(chain, workers, verifiers)
        self.apart = setting.apart
        self.spent: Spent = defaultdict(list)
        self.waiting: dict[tuple[Any, ...], list[Any]] | None = None
        self.sealers: dict[tuple[Stage, int, int], str] = {}
        self.opener = ""

    def send(self, who: str, contract: Any, function: str, *args: Any) -> None:
        """Send and read the receipt; inside `together`, put it to the others of the same call."""
        who = self.opener if function == "open" else who
        if self.waiting is not None:
            *where, parts = args
            self.waiting.setdefault((who, contract, function, *where), []).extend(parts)
            return
        super().send(who, contract, function, *args)
        block = self.rpc("eth_getBlockByNumber", "latest", False)
        receipt = self.rpc("eth_getTransactionReceipt", block["transactions"][0])
        name = f"{function} x{len(args[-1])}" if function in BATCHED else function
        self.spent[name].append(int(receipt["gasUsed"], 16))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Seals and openings in here go out once per key, slot and round."""
        if self.apart:
            yield
            return
        self.waiting = {}
        yield
        batches, self.waiting = self.waiting, None
        for call, parts in batches.items():
            self.send(*call, parts)

    def send_seal(
        self, stage: Stage, question: int, sealed: bytes, *, by: str, seat: int = 0
    ) -> None:
        """Remember whose key sealed, for the opening."""
        self.sealers[stage, question, seat] = operator_of(by)
        super().send_seal(stage, question, sealed, by=by, seat=seat)

    def open(self, stage: Stage, question: int, *, seat: int = 0) -> None:
        """Everybody opens its own, so that its openings travel together."""
        self.opener = self.sealers[stage, question, seat]
        super().open(stage, question, seat=seat)

    def honest_round(self) -> Spent:
        """Play one round, from Commit to the Commit of the next or the end of the job."""
        self.spent = defaultdict(list)
        self.openings.clear()
        number = self.round.number
        with self.together():
            for task in range(self.terms.tasks):
                self.seal(Stage.WORK, task)
        self.to(Phase.CHECK)
        for task in bits(self.round.drawn):
            self.seal(Stage.CHECK, task)
        with self.together():
            for stage, task, seat in list(self.openings):
                self.open(stage, task, seat=seat)
        self.to(Phase.GATHER)
        self.gather()
        self.update()
        while not self.is_over(number):
            round_ = self.round
            target = round_.beacon_block + 1 if round_.beacon_block else round_.deadline
            self.mine(target - int(self.chain.head()) - 1)
            self.send(ANYBODY, self.market, "advance", self.job)
        return self.spent

    def is_over(self, number: int) -> bool:
        """Whether the chain has written the end of a round: the job's, or the next Commit."""
        round_ = stored(self.chain, self.job)[1]
        begun = round_.number > number and round_.phase == Phase.COMMIT
        return begun or round_.phase == Phase.ENDED
