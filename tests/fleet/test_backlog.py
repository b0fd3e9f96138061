"""What a queue owes and how long it took, on every kind of database."""

import pytest

from protocol.fleet.backlog import Backlog
from protocol.fleet.computation import Computed
from protocol.fleet.leases import Leases
from protocol.fleet.trials import Trials
from protocol.rules.records import JobId
from tests.fleet.conftest import MARKET, Clock, computation
from tests.support.rounds import digest

ANSWER = Computed(digest("root"), digest("cid"), b"witness")


@pytest.fixture
def backlog(leases: Leases) -> Backlog:
    return Backlog(leases.engine, leases.queue)


def test_what_is_not_answered_is_owed_the_most_urgent_first(
    backlog: Backlog, leases: Leases
) -> None:
    for question, deadline in ((0, 30), (1, 10), (2, 20)):
        leases.ask(computation(question), deadline)
    Leases(leases.engine, "another").ask(computation(3), 5)
    assert backlog.owed() == [(computation(1), 10), (computation(2), 20), (computation(0), 30)]
    lease = leases.claim("a")
    assert lease is not None
    assert len(backlog.owed()) == 3, "it is under way"
    leases.finish(lease, ANSWER, 1.0)
    assert [wanted.question for wanted, _ in backlog.owed()] == [2, 0]


def test_newest_task_of_each_consumer_counts(
    backlog: Backlog, leases: Leases, clock: Clock
) -> None:
    taken = [("a", 0, 1.0), ("a", 1, 2.0), ("b", 2, 3.0), ("a", 4, 9.0)]
    for consumer, question, seconds in taken:
        clock.now += 1
        leases.ask(computation(question), 10)
        lease = leases.claim(consumer)
        assert lease is not None
        leases.finish(lease, ANSWER, seconds)
    assert backlog.newest(MARKET, JobId(1)) == {"a": 2.0, "b": 3.0}, "4 is the update"
    assert backlog.newest(MARKET, JobId(2)) == {}


def test_consumer_is_trying_from_the_beginning_to_the_end(
    backlog: Backlog, leases: Leases, clock: Clock
) -> None:
    trials = Trials(leases.engine, leases.queue, clock=clock)
    trials.ask(computation(), ["a", "b"])
    assert backlog.trying() == set()
    assert trials.begin("a") is not None
    assert backlog.trying() == {"a"}
    trials.finish("a", computation(), 1.0, 1)
    assert backlog.trying() == set()
