"""A gatherer's word: what is late is waited for, what is gone is said, an own outage is not."""

from typing import Any

import pytest

from protocol.role.gathering import FIRST_PAUSE, MOST_SECONDS, Gathering
from protocol.rules.records import Phase, Stage
from protocol.storage.errors import NotFound
from protocol.storage.survey import Usage
from tests.support.rounds import JOB, address, digest
from tests.support.sights import NOW, Scene


class Files:
    """Results that arrive when the test says so; one that does not costs some seconds."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.asked: list[int] = []
        self.allowed: list[float] = []
        self.seconds = 0.0
        self.cost = 0.0
        self.daemons = [Usage("own")]
        self.store = self

    def describe(self) -> list[Usage]:
        return self.daemons

    def clock(self) -> float:
        return self.seconds

    def result(self, _past: Any, root: bytes, _cid: bytes, *, timeout: float) -> None:
        self.allowed.append(timeout)
        task = next(t for t in range(4) if digest("root", t) == root)
        self.asked.append(task)
        if task in self.gone:
            self.seconds += min(self.cost, timeout)
            raise NotFound(f"task {task} is nowhere")


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def gathering(files: Files) -> Gathering:
    return Gathering(files, clock=files.clock)  # type: ignore[arg-type]  # what it uses of them


@pytest.fixture
def scene() -> Scene:
    """All four tasks are open, and the gather window has begun."""
    scene = Scene(phase=Phase.GATHER)
    for task in range(4):
        scene.seal(Stage.WORK, task, provider=address(1999), opened=True)
    return scene


def late(scene: Scene) -> None:
    window = scene.terms.windows.gather
    scene.now = NOW + window - window // 4


def test_what_is_all_here_is_said_at_once(gathering: Gathering, scene: Scene) -> None:
    assert gathering.word(scene.look(), JOB) == 0b1111


def test_what_is_late_is_waited_for(gathering: Gathering, files: Files, scene: Scene) -> None:
    files.gone = {2}
    assert gathering.word(scene.look(), JOB) is None
    files.gone = set()
    assert gathering.word(scene.look(), JOB) is None, "it is not asked for again at once"
    files.seconds += FIRST_PAUSE
    assert gathering.word(scene.look(), JOB) == 0b1111
    assert files.asked == [0, 1, 2, 3, 2], "what was here is not fetched again"


def test_pauses_grow(gathering: Gathering, files: Files, scene: Scene) -> None:
    files.gone = {2}
    for _ in range(100):
        gathering.word(scene.look(), JOB)
        files.seconds += 1.0
    assert files.asked.count(2) == 6, "after 2, 4, 8, 16 and 32 seconds"


def test_what_is_gone_is_said_in_the_last_quarter(
    gathering: Gathering, files: Files, scene: Scene
) -> None:
    files.gone = {2}
    assert gathering.word(scene.look(), JOB) is None
    late(scene)
    assert gathering.word(scene.look(), JOB) == 0b1011


def test_own_outage_is_not_said_of_others(gathering: Gathering, files: Files, scene: Scene) -> None:
    files.gone, files.daemons = {0, 1, 2, 3}, [Usage("own", why="connection refused")]
    late(scene)
    assert gathering.word(scene.look(), JOB) is None
    files.daemons.append(Usage("another"))
    assert gathering.word(scene.look(), JOB) == 0
    files.daemons.clear()
    assert gathering.word(scene.look(), JOB) == 0, "who has gateways alone has no own store"


def test_one_search_does_not_keep_a_role_from_its_other_duties(
    gathering: Gathering, files: Files, scene: Scene
) -> None:
    files.gone, files.cost = {0, 1, 2, 3}, MOST_SECONDS
    assert gathering.word(scene.look(), JOB) is None
    files.seconds += FIRST_PAUSE
    assert gathering.word(scene.look(), JOB) is None
    assert files.asked == [0, 1], "who was asked for least is next"


def test_results_of_one_search_share_its_time(
    gathering: Gathering, files: Files, scene: Scene
) -> None:
    files.gone, files.cost = {0, 1, 2, 3}, 0.75 * MOST_SECONDS
    assert gathering.word(scene.look(), JOB) is None
    assert files.seconds == MOST_SECONDS
    assert files.allowed == [MOST_SECONDS, 0.25 * MOST_SECONDS]


def test_revealed_anew_is_fetched_anew(gathering: Gathering, files: Files, scene: Scene) -> None:
    """A reorganisation can take back what a task revealed."""
    assert gathering.word(scene.look(), JOB) == 0b1111
    scene.record.seals.pop((Stage.WORK, 3, 0))
    assert gathering.word(scene.look(), JOB) == 0b0111
    gathering.word(scene.look(), JOB)
    assert len(files.asked) == 4
