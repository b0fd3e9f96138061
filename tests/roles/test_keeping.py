"""Pins follow jobs: real nodes, a real ledger; results go, data and final states stay."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from protocol.role.job_files import JobFiles
from protocol.role.keeping import MOST_SECONDS, PAUSE, Keeper
from protocol.role.pins import DRAFT, Pins, holders
from protocol.role.service import REMEMBERED
from protocol.rules.history import JobHistory, MarketHistory
from protocol.rules.records import Ending, JobId
from protocol.storage.cache import Cache
from protocol.storage.cid import Cid
from protocol.storage.errors import StoreUnavailable
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.store import ContentStore, open_store
from protocol.storage.unixfs import cid_of_bytes
from protocol.training.authoring import Authored, JobSettings, author_job
from tests.support.rounds import JOB, make_terms, new_round
from tests.support.sights import Scene
from tests.support.small_jobs import TEXTS, TRAINING

MARKET = "31337/0x01"
OTHER = JobId(JOB + 1)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with start_node(tmp_path_factory.mktemp("node")) as process:
        yield process


@pytest.fixture
def store(node: NodeProcess) -> Iterator[ContentStore]:
    with open_store([node.api_url]) as opened:
        yield opened


@pytest.fixture
def pins(tmp_path: Path) -> Pins:
    return Pins(tmp_path / "home" / "pins.sqlite", MARKET)


@pytest.fixture(scope="module")
def authored(tmp_path_factory: pytest.TempPathFactory) -> Authored:
    return author_job(TEXTS, tmp_path_factory.mktemp("job"), JobSettings(**TRAINING))


@pytest.fixture
def past(authored: Authored) -> JobHistory:
    """A job whose first round is final, its state being the authored one."""
    genesis = authored.genesis
    terms = make_terms(
        manifest=authored.manifest.digest(),
        genesis_root=genesis.root,
        genesis_cid=genesis.index_digest,
        rounds=authored.manifest.rounds,
        tasks=authored.manifest.tasks,
        checks=authored.manifest.tasks,
    )
    past = Scene(terms=terms).past
    past.rounds = [new_round(0, [], 0)]
    past.rounds[0].update = (genesis.root, genesis.index_digest)
    past.states = [genesis.index_digest]
    past.rounds[0].finalised = True
    return past


def keeper(store: ContentStore, pins: Pins, tmp_path: Path, clock: list[float]) -> Keeper:
    files = JobFiles(store, Cache(tmp_path / "cache", 1 << 30))
    return Keeper(files, pins, clock=lambda: clock[0])


def pinned(store: ContentStore, cid: Cid) -> bool:
    return any(holding.pinned for holding in store.find(cid))


def kept_result(
    store: ContentStore, pins: Pins, job: JobId, data: bytes, number: int | None = None
) -> Cid:
    """What a role does with a result of a round: note it, then publish it."""
    cid = cid_of_bytes(data)
    pins.hold(job, cid, [], round_=number)
    store.publish_bytes(data)
    return cid


def market_of(*pasts: JobHistory) -> MarketHistory:
    return MarketHistory(jobs={past.job: past for past in pasts})


def test_results_stay_while_the_job_runs_and_go_when_it_is_over(
    store: ContentStore, pins: Pins, past: JobHistory, tmp_path: Path
) -> None:
    result = kept_result(store, pins, JOB, os.urandom(100))
    kept = keeper(store, pins, tmp_path, [0.0])
    assert kept.let_go(market_of(past)) == []
    assert pinned(store, result)
    past.ending = Ending.COMPLETED
    assert kept.let_go(market_of(past)) == [JOB]
    assert not pinned(store, result)
    assert pins.jobs_with_results() == set()
    assert kept.let_go(market_of(past)) == []


def test_final_state_among_the_results_stays_until_the_job_is_forgotten(
    store: ContentStore, pins: Pins, past: JobHistory, authored: Authored, tmp_path: Path
) -> None:
    genesis = authored.genesis
    pins.hold(JOB, genesis.cid, genesis.shard_cids, stays=False)
    for path in (*genesis.shard_paths, genesis.index_path):
        store.publish(path)
    past.ending = Ending.COMPLETED
    keeper(store, pins, tmp_path, [0.0]).let_go(market_of(past))
    state = (genesis.cid, *genesis.shard_cids)
    assert all(pinned(store, cid) for cid in state)
    assert pins.forget(JOB, store) == len(state)
    assert not any(pinned(store, cid) for cid in state)


def test_what_two_jobs_hold_goes_with_the_last_of_them(
    store: ContentStore, pins: Pins, tmp_path: Path
) -> None:
    shared, data = os.urandom(100), os.urandom(100)
    cid = kept_result(store, pins, JOB, shared)
    kept_result(store, pins, OTHER, shared)
    pins.hold(OTHER, cid_of_bytes(data), [], stays=True)
    store.publish_bytes(data)
    assert pins.release(JOB, store) == 0
    assert pinned(store, cid)
    assert holders(tmp_path / "home", cid) == [OTHER]
    assert pins.release(OTHER, store) == 1
    assert not pinned(store, cid)
    assert pinned(store, cid_of_bytes(data))


def test_store_that_is_away_loses_nothing_and_is_asked_again_later(
    store: ContentStore, pins: Pins, past: JobHistory, tmp_path: Path, closed_store: ContentStore
) -> None:
    result = kept_result(store, pins, JOB, os.urandom(100))
    past.ending = Ending.FAILED
    clock = [0.0]
    kept = keeper(closed_store, pins, tmp_path, clock)
    assert kept.let_go(market_of(past)) == [JOB]
    assert pins.jobs_with_results() == {JOB}
    kept.files.store = store
    clock[0] = PAUSE - 1
    kept.let_go(market_of(past))
    assert pinned(store, result)
    clock[0] = PAUSE
    kept.let_go(market_of(past))
    assert not pinned(store, result)


@pytest.fixture
def closed_store() -> Iterator[ContentStore]:
    """A store whose only daemon is gone."""
    with open_store(["http://127.0.0.1:9"]) as opened:
        yield opened


def test_process_killed_between_noting_and_publishing_leaves_nothing_behind(
    store: ContentStore, tmp_path: Path
) -> None:
    path = tmp_path / "home" / "pins.sqlite"
    code = (
        "import os, sys; from pathlib import Path; from protocol.role.pins import Pins;"
        "from protocol.storage.unixfs import cid_of_bytes;"
        f"Pins(Path(sys.argv[1]), '{MARKET}').hold({JOB}, cid_of_bytes(b'lost'), [], stays=False);"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    pins = Pins(path, MARKET)
    assert pins.jobs_with_results() == {JOB}
    assert pins.release(JOB, store) == 1
    assert pins.jobs_with_results() == set()


def test_coordinator_fetches_and_pins_states_that_its_store_lacks(
    node: NodeProcess, pins: Pins, past: JobHistory, authored: Authored, tmp_path: Path
) -> None:
    """A gatherer proposed the update: the state lies in somebody else's store."""
    with open_store([node.api_url]) as theirs:
        for path in authored.files.values():
            theirs.publish(path)
    genesis = authored.genesis
    state = (genesis.cid, *genesis.shard_cids)
    with start_node(tmp_path / "own") as own, open_store([own.api_url], [node.gateway_url]) as both:
        kept = keeper(both, pins, tmp_path, [0.0])
        kept.keep_states(past)
        past.ending = Ending.COMPLETED
        kept.let_go(market_of(past))
        with open_store([own.api_url]) as mine:
            assert all(pinned(mine, cid) for cid in state)
            assert pins.forget(JOB, mine) == len(state)
            # A process that starts afterwards does not keep them again.
            keeper(both, pins, tmp_path, [0.0]).keep_states(past)
            assert not any(pinned(mine, cid) for cid in state)


class CountingFiles:
    """Files whose states have nothing but an index; it remembers which were looked at."""

    def __init__(self, store: ContentStore, clock: list[float]) -> None:
        self.store = store
        self.clock = clock
        self.cost = 0.0
        self.asked: list[bytes] = []
        self.allowed: list[float] = []
        self.lost: set[bytes] = set()

    def state_files(
        self, _past: JobHistory, digest: bytes, *, timeout: float
    ) -> tuple[bytes, tuple[()]]:
        self.asked.append(digest)
        self.allowed.append(timeout)
        self.clock[0] += min(self.cost, timeout)
        if digest in self.lost:
            raise StoreUnavailable("the index is not here")
        index = {cid_of_bytes(text).digest: text for text in STATES}[digest]
        return index, ()


STATES = [b"first", b"second", b"third", b"fourth", b"another fourth"]


def ends_in(past: JobHistory, text: bytes) -> None:
    """One more round is final, with a state of these bytes, as a role remembers it."""
    number = past.forgotten + len(past.rounds)
    round_ = new_round(number, [], 0)
    round_.state_cid, round_.finalised = past.state_cid, True
    past.rounds.append(round_)
    if Cid.raw(past.state_cid) != cid_of_bytes(text):
        past.state_cid = cid_of_bytes(text).digest
        past.states.append(past.state_cid)
    past.forget(REMEMBERED)


def test_each_state_is_kept_once_and_a_late_one_later(
    store: ContentStore, pins: Pins, past: JobHistory
) -> None:
    """However many there are, a tick looks at those that are new or missing."""
    first, second, third, fourth, other = (cid_of_bytes(text).digest for text in STATES)
    clock = [0.0]
    files = CountingFiles(store, clock)
    kept = Keeper(files, pins, clock=lambda: clock[0])  # type: ignore[arg-type]  # it counts

    def asked() -> list[bytes]:
        files.asked.clear()
        kept.keep_states(past)
        return list(files.asked)

    past.rounds, past.states = [], []
    ends_in(past, b"first")
    assert asked() == [first]
    assert asked() == []
    files.lost = {second}
    ends_in(past, b"second")
    ends_in(past, b"third")
    assert asked() == [second, third]
    assert pinned(store, cid_of_bytes(b"third"))
    assert asked() == [], "the store is given a pause"
    clock[0], files.lost = PAUSE, set()
    assert asked() == [second]
    assert asked() == []
    ends_in(past, b"fourth")
    assert asked() == [fourth]
    past.states[-1] = past.state_cid = other  # a reorganisation
    assert asked() == [other]
    assert asked() == []


def test_coordinator_that_starts_again_asks_for_no_state_that_it_has_let_go(
    store: ContentStore, pins: Pins, past: JobHistory
) -> None:
    files = CountingFiles(store, [0.0])
    past.rounds, past.states = [], []
    for text in STATES[:4]:
        ends_in(past, text)
    Keeper(files, pins).keep_states(past)  # type: ignore[arg-type]  # it counts
    assert files.asked == [cid_of_bytes(text).digest for text in STATES[1:4]]


def test_results_of_forgotten_rounds_go_while_the_job_goes_on(
    store: ContentStore, pins: Pins, past: JobHistory, tmp_path: Path
) -> None:
    """A job of years takes no more room than one of days."""
    kept = keeper(store, pins, tmp_path, [0.0])
    past.rounds, past.states = [], []
    results, states = [], []
    for number in range(6):
        data, state = os.urandom(100), os.urandom(100)
        results.append(kept_result(store, pins, JOB, data, number))
        states.append(kept_result(store, pins, JOB, state, number))
        ends_in(past, state)
        kept.let_go(market_of(past))
        held = [n for n, cid in enumerate(results) if pinned(store, cid)]
        assert held == list(range(past.forgotten, number + 1))
    assert past.forgotten == 4
    there = [n for n, cid in enumerate(states) if pinned(store, cid)]
    assert there == [3, 4, 5], "what the oldest round in mind began with, and all after it"
    past.ending, past.rounds, past.forgotten = Ending.COMPLETED, [], 6
    kept.let_go(market_of(past))
    assert not any(pinned(store, cid) for cid in results)
    assert pinned(store, states[-1])
    assert pins.forget(JOB, store) == 3


def test_state_that_stays_current_over_void_rounds_stays(
    store: ContentStore, pins: Pins, past: JobHistory, tmp_path: Path
) -> None:
    kept = keeper(store, pins, tmp_path, [0.0])
    past.rounds, past.states = [], []
    state = os.urandom(100)
    current = kept_result(store, pins, JOB, state, 0)
    for _ in range(6):
        ends_in(past, state)
        kept.let_go(market_of(past))
    assert (past.forgotten, len(past.states)) == (4, 1)
    assert pinned(store, current)


def test_result_that_a_later_round_brings_again_stays_for_it(
    store: ContentStore, pins: Pins
) -> None:
    data = os.urandom(100)
    cid = kept_result(store, pins, JOB, data, 0)
    kept_result(store, pins, JOB, data, 3)
    assert pins.release_rounds(JOB, 3, [], store) == 0
    assert pinned(store, cid)
    assert pins.release_rounds(JOB, 4, [], store) == 1
    assert not pinned(store, cid)


def test_store_that_is_away_gets_forgotten_rounds_later(
    store: ContentStore, pins: Pins, past: JobHistory, tmp_path: Path, closed_store: ContentStore
) -> None:
    result = kept_result(store, pins, JOB, os.urandom(100), 0)
    clock = [0.0]
    kept = keeper(closed_store, pins, tmp_path, clock)
    past.forgotten = 1
    kept.let_go(market_of(past))
    kept.files.store = store
    kept.let_go(market_of(past))
    assert pinned(store, result), "it is given a pause"
    clock[0] = PAUSE
    kept.let_go(market_of(past))
    assert not pinned(store, result)


OLDER = """
CREATE TABLE pins (market TEXT NOT NULL, job INTEGER NOT NULL, bundle TEXT NOT NULL,
    cid TEXT NOT NULL, stays INTEGER NOT NULL, PRIMARY KEY (market, job, bundle, cid));
CREATE TABLE forgotten (market TEXT, job INTEGER, PRIMARY KEY (market, job));
"""


def test_ledger_of_an_older_release_keeps_its_results_until_the_end(
    store: ContentStore, past: JobHistory, tmp_path: Path
) -> None:
    cid = store.publish_bytes(os.urandom(100))
    path = tmp_path / "pins.sqlite"
    with closing(sqlite3.connect(path)) as ledger:
        ledger.executescript(OLDER)
        row = (MARKET, JOB, str(cid), str(cid), 0)
        ledger.execute("INSERT INTO pins VALUES (?, ?, ?, ?, ?)", row)
        ledger.commit()
    pins = Pins(path, MARKET)
    kept = keeper(store, pins, tmp_path, [0.0])
    newer = kept_result(store, pins, JOB, os.urandom(100), 0)
    past.forgotten = 9
    kept.let_go(market_of(past))
    assert pinned(store, cid)
    assert not pinned(store, newer)
    past.ending = Ending.COMPLETED
    kept.let_go(market_of(past))
    assert not pinned(store, cid)


def test_states_that_are_slow_to_come_share_a_minute(
    store: ContentStore, pins: Pins, past: JobHistory
) -> None:
    clock = [0.0]
    files = CountingFiles(store, clock)
    kept = Keeper(files, pins, clock=lambda: clock[0])  # type: ignore[arg-type]  # it counts
    past.rounds, past.states = [], []
    for text in STATES[:3]:
        ends_in(past, text)
    files.lost, files.cost = set(past.states), 0.75 * MOST_SECONDS
    kept.keep_states(past)
    assert files.allowed == [MOST_SECONDS, 0.25 * MOST_SECONDS, 0.0]
    assert clock[0] == MOST_SECONDS
    kept.keep_states(past)
    assert len(files.asked) == 3, "it rests as long as it took"
    clock[0] += PAUSE
    files.lost, files.cost = set(), 0.0
    kept.keep_states(past)
    assert all(pinned(store, Cid.raw(state)) for state in past.states)


def test_draft_becomes_a_job_or_is_let_go(store: ContentStore, pins: Pins) -> None:
    first, second = os.urandom(50), os.urandom(50)
    for data in (first, second):
        pins.hold(DRAFT, cid_of_bytes(data), [], stays=True)
        store.publish_bytes(data)
    pins.adopt(cid_of_bytes(first), JOB)
    assert pins.release_draft(cid_of_bytes(second), store) == 1
    assert not pinned(store, cid_of_bytes(second))
    assert pinned(store, cid_of_bytes(first))
    assert pins.forget(JOB, store) == 1
    assert not pinned(store, cid_of_bytes(first))


def test_what_is_noted_while_another_lets_go_ends_up_pinned(
    store: ContentStore, pins: Pins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two roles of one home and the same bytes: letting go never undoes a later pin."""
    data = os.urandom(100)
    cid = kept_result(store, pins, JOB, data)
    other = threading.Thread(target=kept_result, args=(store, pins, OTHER, data))
    unpin = store.unpin

    def unpin_slowly(cid: Cid) -> None:
        other.start()
        other.join(1.0)  # time enough to publish, unless it has to wait as it must
        unpin(cid)

    monkeypatch.setattr(store, "unpin", unpin_slowly)
    assert pins.release(JOB, store) == 1
    other.join()
    assert pinned(store, cid)
    assert pins.jobs_with_results() == {OTHER}


def test_unreachable_store_keeps_the_ledger(pins: Pins, closed_store: ContentStore) -> None:
    pins.hold(JOB, cid_of_bytes(b"x"), [], stays=True)
    with pytest.raises(StoreUnavailable):
        pins.forget(JOB, closed_store)
    assert pins.is_forgotten(JOB)
