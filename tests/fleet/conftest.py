"""Leases on every kind of database, with a clock that passes when told to; a published job."""

from collections.abc import Iterator

import pytest

from protocol.database.opening import open_database
from protocol.fleet.computation import Computation, Included, Work
from protocol.fleet.leases import Leases
from protocol.rules.records import JobId
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.store import open_store
from protocol.training.authoring import Authored, JobSettings, author_job
from tests.support.consumers import SLOW
from tests.support.rounds import digest
from tests.support.small_jobs import TEXTS

SECONDS = 10.0
MARKET = "31337/0xA"


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self, _session: object = None) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(place: str, clock: Clock) -> Iterator[Leases]:
    engine = open_database(place)
    yield Leases(engine, "compute", seconds=SECONDS, clock=clock)
    engine.dispose()


def computation(question: int = 0, *, job: int = 1, round_: int = 0) -> Computation:
    """A question of a job with four tasks; question 4 is the update."""
    terms = Work(digest("manifest"), digest("root"), digest("cid"), rounds=3, tasks=4)
    included = (Included(0, digest("r"), digest("c")),) if question == terms.tasks else ()
    state = (digest("state"), digest("state cid"))
    return Computation(MARKET, JobId(job), terms, round_, question, *state, included)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with start_node(tmp_path_factory.mktemp("node")) as process:
        yield process


@pytest.fixture(scope="session")
def authored(node: NodeProcess, tmp_path_factory: pytest.TempPathFactory) -> Authored:
    """A published job."""
    job = author_job(TEXTS, tmp_path_factory.mktemp("job"), JobSettings(**SLOW))
    with open_store([node.api_url]) as store:
        for path in job.files.values():
            store.publish(path)
    return job
