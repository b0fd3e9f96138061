"""One market of a given size, played to the end of its rounds, with what its coordinator spent."""

import itertools
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from eth_account import Account

from benchmarks.control_plane_coordinator import KEY, STEPS, CoordinatorProcess, Tick
from benchmarks.control_plane_crowd import Crowd
from benchmarks.control_plane_market import (
    COORDINATOR,
    GATHERERS,
    PANEL,
    Gas,
    Market,
    make_terms,
    operator_of,
    person,
)
from protocol.role.sight import Sight
from protocol.rules.economics import MAX_SLOTS
from protocol.rules.records import Address, Ending, JobId, Phase

JOBS_EACH = 4
"""Jobs that an operator works on, where there are as many."""
PAID_IN = (Phase.FINALISE, Phase.ENDED)
MOST_BLOCKS = 200
"""Blocks that a round may take before it counts as stuck."""


@dataclass(frozen=True)
class Size:
    """How large a market is."""

    operators: int
    jobs: int
    tasks: int
    rounds: int = 1

    @property
    def team(self) -> int:
        """Worker slots of a job."""
        return min(self.operators, MAX_SLOTS, -(-JOBS_EACH * self.operators // self.jobs))

    @property
    def in_flight(self) -> int:
        """Tasks of one round of all jobs."""
        return self.jobs * self.tasks


@dataclass
class Played:
    """What a market of one size cost, in all its rounds together."""

    size: Size
    ticks: list[Tick] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)  # the oldest open round, by tick
    settling: list[bool] = field(default_factory=list)  # whether a round is being paid out, by tick
    gas: Gas = field(default_factory=dict)
    operators: dict[str, float] = field(default_factory=dict)  # seconds of one, by what it decides
    paid: int = 0
    seconds: float = 0.0  # of everything, set-up included

    def spent(self, kind: str = "seconds") -> dict[str, float]:
        """Seconds or requests of each step in all rounds."""
        total: Counter[str] = Counter()
        for tick in self.ticks:
            total.update(getattr(tick, kind))
        return {step: float(total[step]) for step in STEPS}


def play(size: Size) -> Played:
    """Play every round of every job; raises AssertionError where one does not come through."""
    began = time.perf_counter()
    played = Played(size)
    with (
        tempfile.TemporaryDirectory(prefix="gradproof-scale-") as name,
        Market(Path(name)) as market,
    ):
        folder = Path(name)
        book = folder / "deployment.json"
        market.deployment.write(book)
        crowd = _open(market, folder, size)
        with CoordinatorProcess(market.anvil.url, book, folder / "home") as coordinator:
            sight = _join(market, crowd, coordinator)
            market.gas.clear()
            crowd.seconds = dict.fromkeys(crowd.seconds, 0.0)
            while sight.jobs:
                assert len(played.ticks) < MOST_BLOCKS * size.rounds, _standing(sight)
                oldest = min(js.round.number for js in sight.jobs.values())
                played.rounds.append(min(oldest, size.rounds - 1))
                phases = {js.round.phase for js in sight.jobs.values()}
                played.settling.append(not phases.isdisjoint(PAID_IN))
                played.ticks.append(coordinator.tick())
                crowd.act(sight)
                market.mine()
                sight = crowd.observe()
        endings = {past.ending for past in sight.market.jobs.values()}
        assert endings == {Ending.COMPLETED}, endings
        played.gas = dict(market.gas)
        played.operators = {k: v / len(played.ticks) for k, v in crowd.seconds.items()}
        played.paid = sum(market.credit(owner) > 0 for owner in crowd.operators)
    played.seconds = time.perf_counter() - began
    return played


def _open(market: Market, folder: Path, size: Size) -> Crowd:
    """Money for everybody, jobs posted, verifiers enrolled."""
    operators = [person(0x10000 + number) for number in range(size.operators)]
    hot = {owner: operator_of(owner) for owner in operators}
    market.put_up({**hot, COORDINATOR: Address(Account.from_key(KEY).address)})
    coordinator = Address(Account.from_key(KEY).address)
    terms = make_terms(coordinator, size.rounds, size.tasks, size.team)
    seats = terms.checks + GATHERERS + PANEL
    taken = itertools.cycle(operators)
    teams = {JobId(1 + job): list(itertools.islice(taken, size.team)) for job in range(size.jobs)}
    crowd = Crowd(market, folder, operators, -(-2 * seats // size.operators), teams)
    crowd.enrol()
    for _ in range(size.jobs):
        market.post(terms)
    market.mine()
    return crowd


def _join(market: Market, crowd: Crowd, coordinator: CoordinatorProcess) -> Sight:
    """Everybody joins, the coordinator accepts; ends when every job's first round is open."""
    for _ in range(MOST_BLOCKS):
        sight = crowd.observe()
        assert sight.jobs, "the jobs are posted"
        if all(js.past.rounds for js in sight.jobs.values()):
            return sight
        coordinator.tick()
        crowd.act(sight)
        market.mine()
    raise AssertionError(_standing(crowd.observe()))


def _standing(sight: Sight) -> str:
    stand = Counter((js.round.number, js.round.phase.name) for js in sight.jobs.values())
    return f"no progress at block {sight.now}: {dict(stand)}"
