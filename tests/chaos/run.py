"""One run: a market trains while a seeded plan disturbs it; then it is held to account."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.report import all_lines
from protocol.chain.errors import ChainError
from protocol.chain.indexer import Indexer
from protocol.database.opening import open_database
from protocol.role.job_files import JobFiles
from protocol.rules.history import JobHistory, RoundHistory
from protocol.rules.records import Address, Ending, JobId, Phase, TaskResult
from protocol.storage.cache import Cache
from protocol.storage.store import open_store
from protocol.training.replay import replay
from tests.chaos.market import ROLES, TASKS, Market
from tests.chaos.plan import CHAIN, Kind, disturbances

MOST_SECONDS = 330.0
"""For 8 rounds, on a machine of its own; then 20 s are left to judge what came of it."""
Tell = Callable[[str], None]


@dataclass
class Outcome:
    """How a run came out; without `faults`, as it should."""

    seed: int
    rounds: int
    happened: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        """One line of the table of runs."""
        counts = "  ".join(f"{self.happened[kind]:>6}" for kind in Kind)
        word = "; ".join(self.faults) or "CONSISTENT, every bond kept, state equal"
        return f"{self.seed:>5}  {self.rounds:>6}  {counts}  {self.seconds:>7.0f}  {word}"


HEADER = f"{'seed':>5}  {'rounds':>6}  " + "  ".join(f"{kind:>6}" for kind in Kind)
HEADER += f"  {'seconds':>7}  outcome"


def run(
    seed: int, rounds: int, root: Path, tell: Tell, most_seconds: float = MOST_SECONDS
) -> Outcome:
    """Play one market to its end under the plan of `seed`; logs lie in `root`."""
    outcome, began = Outcome(seed, rounds), time.monotonic()
    market = Market(root)
    try:
        for name in ROLES:
            market.start(name)
        job = market.post(rounds)
        past = _play(market, job, outcome, tell, most_seconds)
        market.mend(everything=True)
        if past is not None:
            _judge(market, past, outcome)
    finally:
        outcome.faults += [f"left behind: {process}" for process in market.close()]
        outcome.seconds = time.monotonic() - began
    return outcome


def _play(
    market: Market, job: JobId, outcome: Outcome, tell: Tell, most_seconds: float
) -> JobHistory | None:
    """Disturb until the job is over and its workers have gone home; None where that never comes."""
    indexer = Indexer(market.chain, open_database(None))
    began = time.monotonic()
    plan = disturbances(outcome.seed, ROLES)
    coming = next(plan)
    due = began + coming.after
    while time.monotonic() - began < most_seconds:
        market.mend()
        outcome.faults += market.supervise()
        # Whoever waits for the answer of a paused chain cannot resume it.
        past = None if CHAIN in market.paused else _look(indexer, job)
        if past is not None:
            if past.ending != Ending.NONE and not past.roster:
                return past
            _skip_idle_window(market, past)
            # Before the first round and after the last nobody has anything to lose.
            if past.rounds and past.ending == Ending.NONE and time.monotonic() >= due:
                tell(f"{time.monotonic() - began:6.1f} s  {_where(past)}: {coming}")
                market.disturb(coming)
                outcome.happened[coming.kind] += 1
                coming = next(plan)
                due = time.monotonic() + coming.after
        time.sleep(0.25)
    past = _look(indexer, job)
    outcome.faults.append(f"not over after {most_seconds:.0f} s: {past and _where(past)}")
    return None


def _look(indexer: Indexer, job: JobId) -> JobHistory | None:
    """The job as it is now; None where the chain does not answer."""
    try:
        return indexer.sync().jobs.get(job)
    except ChainError:
        return None


def _where(past: JobHistory) -> str:
    open_ = past.open_round
    return "between rounds" if open_ is None else f"round {open_.number} {open_.phase.name.lower()}"


def _skip_idle_window(market: Market, past: JobHistory) -> None:
    """A challenge window runs to its end though everybody has done what there was to do."""
    open_ = past.open_round
    if open_ is None:
        return
    gathered = open_.phase == Phase.GATHER and len(open_.gathered) == past.terms.gatherers
    if gathered or open_.phase == Phase.UPDATE_CHALLENGE:
        try:
            left = open_.deadline - market.chain.head() - 1
        except ChainError:
            return
        if left > 0:
            market.rpc("anvil_mine", hex(left))


def losses(past: JobHistory, rounds: int, names: dict[Address, str]) -> list[str]:
    """What the chain shows that honest parties should never see: lost bonds, lost work."""
    faults = []
    if past.ending != Ending.COMPLETED:
        faults.append(f"the job ended {past.ending.name}")
    for line in all_lines(past):
        if line.kind == "slash":
            who = names.get(line.account, line.account)
            faults.append(f"{who} lost {line.amount} for {line.reason.name}")
    included = [_included(round_) for round_ in past.rounds]
    if included != [list(range(TASKS))] * rounds:
        faults.append(f"included were {included}")
    return faults


def _included(round_: RoundHistory) -> list[int]:
    return [t for t, result in sorted(round_.results.items()) if result == TaskResult.INCLUDED]


def _judge(market: Market, past: JobHistory, outcome: Outcome) -> None:
    """What must hold, whatever happened."""
    names = {actor.address: name for name, actor in market.actors.items()}
    faults = outcome.faults
    faults += losses(past, outcome.rounds, names)
    everything = [list(range(TASKS))] * outcome.rounds
    with open_store(market.settings.apis) as store:
        files = JobFiles(store, Cache(market.settings.cache_path, market.settings.cache_bytes))
        manifest = files.manifest(past)
        genesis = files.state(past, past.terms.genesis_root, past.terms.genesis_cid)
        undisturbed = replay(manifest, genesis, files.dataset(past), everything)
    if past.state_root != undisturbed:
        faults.append("the final state is not that of an undisturbed run")
    audit = subprocess.run(
        [sys.executable, "-m", "coordinator.cli.main", "audit", str(past.job), "--json"],
        env=market.stage.environment(None, market.root / "auditor"),
        capture_output=True,
        text=True,
        timeout=180,
    )
    if audit.returncode != 0:
        faults.append(f"the audit ends with {audit.returncode}: {audit.stdout[-300:]}")
