"""What a role asks of its consumers, when it asks again, what it forgets; a real ledger of pins."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.database.opening import open_database
from protocol.fleet.bell import Bell
from protocol.fleet.computation import Computed
from protocol.fleet.leases import Leases
from protocol.role.answers import Answerer, describe
from protocol.role.pins import Pins, holders
from protocol.rules.history import MarketHistory
from protocol.rules.records import Ending, Stage
from protocol.rules.sealing import NONFINITE_ROOT
from protocol.runtime.settings import Settings
from protocol.storage.errors import StoreUnavailable
from protocol.storage.store import open_store
from protocol.storage.unixfs import cid_of_bytes
from tests.support.rounds import JOB, address, digest
from tests.support.sights import Scene

INDEX, SHARD = cid_of_bytes(b"index"), cid_of_bytes(b"shard")
DEADLINE = 60
TASK = 1


@pytest.fixture
def leases(tmp_path: Path) -> Iterator[Leases]:
    engine = open_database(tmp_path / "leases.sqlite")
    yield Leases(engine, "compute")
    engine.dispose()


@pytest.fixture
def answerer(leases: Leases, tmp_path: Path) -> Answerer:
    bell = Bell(Settings(home=tmp_path))
    pins = Pins(tmp_path / "pins.sqlite", "market")
    return Answerer(leases, bell, pins, 31337, address(1), address(2))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def rings(home: Path) -> int:
    return len(list((home / "fleet" / "messages").glob("*.msg")))


def consume(leases: Leases, root: bytes = digest("root"), cid: bytes = digest("cid")) -> None:
    """A consumer's part of one computation."""
    lease = leases.claim("somebody")
    assert lease is not None
    if root != NONFINITE_ROOT:
        leases.note(lease, [str(INDEX), str(SHARD)])
    leases.finish(lease, Computed(root, cid, digest("witness")), 1.0)


def test_question_is_asked_once_and_its_answer_held(
    answerer: Answerer, leases: Leases, scene: Scene, tmp_path: Path
) -> None:
    def find() -> object:
        return answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)

    assert find() is None
    assert find() is None
    assert (leases.depth(), rings(tmp_path)) == (1, 1)
    assert not answerer.has_news()
    consume(leases)
    assert answerer.has_news()
    assert not answerer.has_news(), "the tick that follows looks, whether it still wants it or not"
    found = answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    assert found is not None
    assert holders(tmp_path, SHARD) == [JOB]
    opening = answerer.open(scene.past, scene.record.number, Stage.WORK, TASK, 0, found)
    check = answerer.open(scene.past, scene.record.number, Stage.CHECK, TASK, 0, found)
    assert (opening.root, opening.cid) == (digest("root"), digest("cid"))
    assert opening.outcome == check.outcome
    assert len({opening.salt, check.salt, opening.hash, check.hash}) == 4


def test_answer_without_files_is_found_and_holds_nothing(
    answerer: Answerer, leases: Leases, scene: Scene
) -> None:
    answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    consume(leases, NONFINITE_ROOT, bytes(32))
    found = answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    assert found is not None
    assert found.cids == ()
    assert answerer.pins.jobs_with_results() == set()


def test_update_is_described_by_what_it_includes(scene: Scene) -> None:
    for task in (0, 1, 2):
        scene.seal(Stage.WORK, task, provider=address(9), opened=True)
    update = scene.terms.update_question
    place = "31337/x"
    some = describe(place, scene.past, scene.record, update, 0b101)
    more = describe(place, scene.past, scene.record, update, 0b111)
    assert [one.task for one in some.included] == [0, 2]
    assert some.key != more.key
    task = describe(place, scene.past, scene.record, 0, 0b101)
    assert task.included == ()
    assert task.key == describe(place, scene.past, scene.record, 0, 0b111).key


def test_windows_that_closed_are_forgotten(
    answerer: Answerer, leases: Leases, scene: Scene
) -> None:
    answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    market = MarketHistory(jobs={JOB: scene.past})
    answerer.tidy(market, DEADLINE)
    assert leases.depth() == 1, "the window's last block is still to come"
    answerer.tidy(market, DEADLINE + 1)
    assert leases.depth() == 0


def test_what_a_late_answer_has_published_is_in_the_ledger_before_it_is_forgotten(
    answerer: Answerer, leases: Leases, scene: Scene, tmp_path: Path
) -> None:
    """Publishing failed half-way, was put off, and then the window had closed."""
    answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    lease = leases.claim("somebody")
    assert lease is not None
    leases.note(lease, [str(INDEX), str(SHARD)])
    leases.postpone(lease, "the store is away")
    answerer.tidy(MarketHistory(jobs={JOB: scene.past}), DEADLINE + 1)
    assert leases.jobs() == {}
    assert holders(tmp_path, SHARD) == [JOB]


@pytest.mark.parametrize("how", ["published", "late", "never taken"])
def test_ledger_knows_the_round_that_brought_a_result(
    how: str, answerer: Answerer, leases: Leases, scene: Scene, tmp_path: Path
) -> None:
    answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    market, block = MarketHistory(jobs={JOB: scene.past}), 1
    if how == "late":
        lease = leases.claim("somebody")
        assert lease is not None
        leases.note(lease, [str(INDEX), str(SHARD)])
        leases.postpone(lease, "the store is away")
        block = DEADLINE + 1
    else:
        consume(leases)
        if how == "published":
            answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
        scene.record.finalised = True
    answerer.tidy(market, block)
    assert holders(tmp_path, SHARD) == [JOB]
    with open_store(["http://127.0.0.1:9"]) as store:
        assert answerer.pins.release_rounds(JOB, 0, [], store) == 0
        with pytest.raises(StoreUnavailable):
            answerer.pins.release_rounds(JOB, 1, [], store)


@pytest.mark.parametrize("how", ["next round", "ended", "forgotten rounds"])
def test_what_was_published_is_in_the_ledger_before_it_is_forgotten(
    how: str, answerer: Answerer, leases: Leases, scene: Scene, tmp_path: Path
) -> None:
    """Also where the role never took the answer: its window had closed."""
    answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    consume(leases)
    market = MarketHistory(jobs={JOB: scene.past})
    answerer.tidy(market, 1)
    assert len(leases.jobs()) == 1, "this round may still need it"
    assert holders(tmp_path, SHARD) == []
    match how:
        case "next round":
            scene.record.finalised = True
        case "ended":
            scene.past.ending = Ending.FAILED
        case "forgotten rounds":
            scene.past.forgotten, scene.past.rounds = 3, []
    answerer.tidy(market, 1)
    assert leases.jobs() == {}
    assert holders(tmp_path, SHARD) == [JOB]


def test_jobs_of_other_markets_and_unknown_ones_are_left_alone(
    answerer: Answerer, leases: Leases, scene: Scene
) -> None:
    wanted = describe("1/other", scene.past, scene.record, TASK, 0)
    leases.ask(wanted, DEADLINE)
    scene.past.ending = Ending.COMPLETED
    answerer.tidy(MarketHistory(jobs={JOB: scene.past}), 9999)
    answerer.find(scene.past, scene.record, TASK, 0, DEADLINE)
    answerer.tidy(MarketHistory(), 1)
    assert leases.depth() == 2
