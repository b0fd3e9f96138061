"""Gas of whole rounds on a real chain, by function, and what it comes to per task.

Rounds of 64 tasks of which 7 are checked (p = 10.9 %) are played through the market's public
functions by everybody honest, each transaction counted: seals, openings, checks, gathering, the
update, every `advance`, and the payout inside it. A slot's seals travel in one transaction, and a
key's openings in another; with --apart each has its own. The first round writes words that were
zero; the later ones are what a job costs in the long run.

    python benchmarks/gas.py [--tasks 64] [--checks 7] [--slots 16] [--rounds 2] [--apart]
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eth_account import Account

from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, start_anvil
from protocol.chain.client import Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.views import stored
from protocol.rules.records import Phase, Stage, Windows, bits
from tests.support import market_play
from tests.support.market_play import ANYBODY, Play, operator_of, person

TARGET = 200_000
"""Gas per task that a round may cost, all its transactions together."""
BATCHES = ("sealTasks", "open")
Spent = dict[str, list[int]]


class Metered(Play):
    """A play that keeps the gas of every transaction, and lets one key's parts travel together."""

    def __init__(self, chain: Chain, *, apart: bool) -> None:
        super().__init__(chain)
        self.apart = apart
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
        name = f"{function} x{len(args[-1])}" if function in BATCHES else function
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--checks", type=int, default=7)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--verifiers", type=int, default=32)
    parser.add_argument("--apart", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        anvil = start_anvil(Path(scratch) / "anvil.log", block_time=None)
        try:
            web3 = connect(anvil.url, DEV_CHAIN_ID)
            chain = Chain(anvil.url, deploy(web3, Account.from_key(FAUCET_KEY), DEV_CONFIG))
            market_play.WORKERS[:] = [person(0x1000 + i) for i in range(args.slots)]
            market_play.VERIFIERS[:] = [person(0x2000 + i) for i in range(args.verifiers)]
            play = Metered(chain, apart=args.apart)
            play.raise_curtain()
            play.open_round(
                tasks=args.tasks,
                checks=args.checks,
                rounds=args.rounds,
                min_workers=args.slots,
                windows=Windows(*[300] * 11),
            )
            for number in range(args.rounds):
                report(number, args.tasks, play.honest_round())
        finally:
            anvil.stop()


def report(number: int, tasks: int, spent: Spent) -> None:
    """Print one round."""
    total = sum(map(sum, spent.values()))
    print(f"\nround {number}: {total:,} gas, {total // tasks:,} per task (target {TARGET:,})")
    print(f"{'function':<18} {'calls':>5} {'least':>10} {'mean':>10} {'most':>10} {'per task':>10}")
    for name, gas in sorted(spent.items(), key=lambda kv: -sum(kv[1])):
        print(
            f"{name:<18} {len(gas):>5} {min(gas):>10,} {sum(gas) // len(gas):>10,} {max(gas):>10,}"
            f" {sum(gas) / tasks:>10,.0f}"
        )


if __name__ == "__main__":
    main()
