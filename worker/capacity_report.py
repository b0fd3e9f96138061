"""Printing what this operator's consumers can do: who they are, and what each job would be."""

import json
import sys
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from protocol.chain.indexer import Indexer
from protocol.chain.wallet import address_of
from protocol.database.opening import fleet_database, open_database
from protocol.fleet.trials import Facts, Trial, Trials
from protocol.role.answers import market_name
from protocol.role.connection import open_chain
from protocol.role.job_files import JobFiles
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory
from protocol.rules.records import Ending
from protocol.runtime.settings import Settings
from protocol.storage.cache import Cache
from protocol.storage.store import open_store
from protocol.training.footprint import mib
from worker.capacity import Room
from worker.claim import Limits
from worker.survey import Survey


@dataclass(frozen=True, slots=True)
class Weighed:
    """A running job: slots here, what consumers found, what could be joined."""

    job: int
    joined: int
    room: Room
    trials: list[Trial]


def print_capacity(settings: Settings, slots: int | None, *, as_json: bool) -> None:
    """Read fleet and chain and print; has nothing tried. Raises SettingsError, ChainError."""
    owner, key = settings.provider_address(), address_of(settings.wallet_path(settings.operator))
    chain = open_chain(settings)
    trials = Trials(
        fleet_database(settings), settings.queue, silent_seconds=2 * settings.lease_seconds
    )
    market = Indexer(chain, open_database(None)).sync()
    place = market_name(chain.deployment.chain_id, chain.deployment.market)
    with open_store(settings.apis, settings.gateways) as store:
        files = JobFiles(store, Cache(settings.cache_path, settings.cache_bytes))
        survey = Survey(chain, files, trials, place, Limits(slots))
        here = survey.conditions(owner, key)

        def weigh(past: JobHistory) -> Weighed:
            joined = sum(who == owner for _, who in past.roster)
            try:
                found = survey.room_of(past, here)
            except GradproofError as error:
                found = Room(0, str(error).splitlines()[0])
            return Weighed(past.job, joined, found, trials.of_job(place, past.job))

        jobs = [weigh(past) for past in market.jobs.values() if past.ending == Ending.NONE]
    there = trials.consumers()
    if as_json:
        document = {
            "consumers": [asdict(facts) for facts in there],
            "jobs": [asdict(weighed) for weighed in jobs],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(there, jobs, Console())


def _show(consumers: list[Facts], jobs: list[Weighed], console: Console) -> None:
    table = Table(title="consumers", box=None, title_justify="left")
    for name in ("consumer", "device", "host", "memory", "can have"):
        table.add_column(name, justify="right" if name in ("memory", "can have") else "left")
    for c in consumers:
        table.add_row(c.name, c.device, c.host, mib(c.memory), mib(c.free))
    console.print(table)
    table = Table(title="jobs", box=None, title_justify="left")
    for name in ("job", "slots here", "could join"):
        table.add_column(name, justify="right")
    table.add_column("why", overflow="fold")
    table.add_column("tried", overflow="fold")
    for w in jobs:
        tried = [f"{t.consumer}: {t.seconds:.2f} s, {mib(t.peak)}" for t in w.trials if t.seconds]
        table.add_row(str(w.job), str(w.joined), str(w.room.slots), w.room.reason, "\n".join(tried))
    console.print(table)
