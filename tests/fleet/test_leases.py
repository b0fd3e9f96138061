"""Leases: one answer per computation, whoever ends in the middle of it, on both databases."""

import subprocess
import sys
from collections import Counter

import pytest

from protocol.database.errors import DatabaseUnavailable
from protocol.database.opening import open_database
from protocol.fleet.computation import Computation, Computed
from protocol.fleet.errors import ComputationFailed, LeaseLost
from protocol.fleet.leases import MOST_ATTEMPTS, Lease, Leases
from protocol.fleet.pauses import LONGEST_PAUSE
from protocol.rules.records import JobId
from tests.fleet.conftest import MARKET, SECONDS, Clock, computation
from tests.support.rounds import digest

ANSWER = Computed(digest("root"), digest("cid"), digest("witness"))
OTHER = Computed(digest("lie"), digest("cid"), digest("witness"))


def taken(leases: Leases, who: str = "a") -> Lease:
    lease = leases.claim(who)
    assert lease is not None
    return lease


def test_description_survives_its_journey() -> None:
    for question in (0, 4):
        wanted = computation(question)
        assert Computation.from_json(wanted.as_json()) == wanted
        assert wanted.is_update == (question == 4)


def test_what_decides_the_answer_decides_the_key() -> None:
    keys = {computation(q, job=j, round_=r).key for q in (0, 1, 4) for j in (1, 2) for r in (0, 1)}
    assert len(keys) == 12


def test_asking_twice_is_computed_once(leases: Leases) -> None:
    assert leases.ask(computation(), 50)
    assert not leases.ask(computation(), 50)
    assert leases.depth() == 1
    lease = taken(leases)
    assert lease.computation == computation()
    assert leases.claim("b") is None
    assert leases.answer(lease.key) is None
    leases.note(lease, ["index", "shard"])
    leases.finish(lease, ANSWER, 1.5)
    found = leases.answer(lease.key)
    assert found is not None
    assert (found.computed, found.cids, found.seconds) == (ANSWER, ("index", "shard"), 1.5)
    assert leases.any_answered([lease.key])
    assert not leases.ask(computation(), 50)
    assert leases.claim("b") is None


def test_window_that_closes_first_is_computed_first(leases: Leases) -> None:
    for question, deadline in ((0, 90), (1, 30), (2, 60), (3, 20), (4, 40), (5, 50)):
        leases.ask(computation(question), deadline)
    leases.ask(computation(0), 10)  # the same question, in a stage that ends sooner
    order = [taken(leases).computation.question for _ in range(6)]
    assert order == [0, 3, 1, 4, 5, 2]


def test_lease_that_ran_out_goes_to_the_next_and_the_first_is_not_heard(
    leases: Leases, clock: Clock
) -> None:
    leases.ask(computation(), 50)
    first = taken(leases, "paused")
    clock.now += SECONDS
    assert leases.claim("b") is None, "not before its time"
    clock.now += 1
    second = taken(leases, "b")
    assert second.token > first.token
    for late in (
        lambda: leases.renew(first),
        lambda: leases.note(first, ["x"]),
        lambda: leases.finish(first, OTHER, 1.0),
        lambda: leases.give_back(first),
        lambda: leases.postpone(first, "late"),
        lambda: leases.break_off(first, "late"),
    ):
        with pytest.raises(LeaseLost):
            late()
    leases.finish(second, ANSWER, 1.0)
    with pytest.raises(LeaseLost):
        leases.finish(first, OTHER, 1.0)
    with pytest.raises(LeaseLost):
        leases.finish(second, OTHER, 1.0)
    found = leases.answer(first.key)
    assert found is not None
    assert found.computed == ANSWER


def test_renewed_lease_does_not_run_out(leases: Leases, clock: Clock) -> None:
    leases.ask(computation(), 50)
    lease = taken(leases)
    for _ in range(3):
        clock.now += SECONDS
        leases.renew(lease)
    clock.now += SECONDS / 2
    assert leases.claim("b") is None
    assert leases.lease_age() == 3.5 * SECONDS
    leases.finish(lease, ANSWER, 1.0)
    assert leases.lease_age() == 0.0


def test_what_ends_every_consumer_is_given_up(leases: Leases, clock: Clock) -> None:
    leases.ask(computation(0), 50)
    leases.ask(computation(1), 60)
    for _ in range(MOST_ATTEMPTS):
        assert taken(leases).computation.question == 0
        clock.now += SECONDS + 1
    assert taken(leases).computation.question == 1, "the others are computed all the same"
    with pytest.raises(ComputationFailed, match="question 0 of round 0"):
        leases.ask(computation(0), 50)


def test_defect_is_tried_five_times_with_pauses_in_which_others_may(
    leases: Leases, clock: Clock
) -> None:
    leases.ask(computation(), 50)
    lease, pauses = taken(leases), []
    for _ in range(MOST_ATTEMPTS - 1):
        leases.break_off(lease, "ValueError: no")
        began = clock.now
        while (next_ := leases.claim("b")) is None:
            clock.now += 1
        lease = next_
        pauses.append(clock.now - began)
    assert pauses == [2, 4, 8, 16]
    leases.break_off(lease, "ValueError: no")
    clock.now += LONGEST_PAUSE + 1
    assert leases.claim("a") is None
    with pytest.raises(ComputationFailed, match=r"after 5 attempts.*ValueError: no"):
        leases.ask(computation(), 50)


def test_what_is_not_here_yet_is_tried_again_after_a_pause(leases: Leases, clock: Clock) -> None:
    leases.ask(computation(), 50)
    pauses = []
    for _ in range(MOST_ATTEMPTS + 3):
        leases.postpone(taken(leases), "the store is away")
        began = clock.now
        while leases.claim("probe") is None:
            clock.now += 1
        pauses.append(clock.now - began)
        clock.now += SECONDS + 1  # the probe's own lease runs out: it counts as vanished
        if len(pauses) == 3:
            break
    assert pauses == [2, 4, 8]
    assert pauses[-1] <= LONGEST_PAUSE


def test_lease_given_back_is_taken_at_once(leases: Leases) -> None:
    leases.ask(computation(), 50)
    leases.give_back(taken(leases))
    assert taken(leases, "b").token == 2


def test_closed_window_and_past_rounds_are_forgotten(leases: Leases) -> None:
    for question, deadline in ((0, 49), (1, 50)):
        leases.ask(computation(question), deadline)
    assert leases.late("another market", 99) == []
    leases.expire(leases.late(MARKET, 50))
    lease = taken(leases)
    assert lease.computation.question == 1
    leases.note(lease, ["index", "shard"])
    leases.ask(computation(2, round_=1), 70)
    leases.ask(computation(2, job=2), 70)
    assert leases.jobs() == {(MARKET, JobId(1)): 0, (MARKET, JobId(2)): 0}
    assert leases.noted(MARKET, JobId(1), 1) == [("index", "shard")]
    leases.drop(MARKET, JobId(1), 1)
    assert leases.jobs() == {(MARKET, JobId(1)): 1, (MARKET, JobId(2)): 0}
    with pytest.raises(LeaseLost):
        leases.finish(lease, ANSWER, 1.0)


def test_what_is_taken_after_it_was_found_late_is_not_forgotten(
    leases: Leases, clock: Clock
) -> None:
    leases.ask(computation(), 49)
    lease = taken(leases)
    leases.note(lease, ["index", "shard"])
    leases.postpone(lease, "the store is away")
    [found] = leases.late(MARKET, 50)
    assert (found.job, found.round, found.cids) == (1, 0, ("index", "shard"))
    clock.now += LONGEST_PAUSE
    lease = taken(leases, "b")
    leases.note(lease, ["index", "other shard"])
    leases.postpone(lease, "the store is away")
    leases.expire([found])
    [again] = leases.late(MARKET, 50)
    assert again.cids == ("index", "other shard"), "it is noted first"
    leases.expire([again])
    assert leases.jobs() == {}


def test_queues_are_apart(place: str) -> None:
    engine = open_database(place)
    one, other = Leases(engine, "one"), Leases(engine, "other")
    one.ask(computation(), 50)
    assert other.claim("a") is None
    assert other.ask(computation(), 50)
    assert (one.depth(), other.depth()) == (1, 1)
    assert one.claim("a") is not None, "by the database's own clock"
    assert 0 <= one.lease_age() < 60
    engine.dispose()


CLAIMER = """
import sys
from protocol.database.opening import open_database
from protocol.fleet.computation import Computed
from protocol.fleet.leases import Leases

engine = open_database(sys.argv[1])
leases = Leases(engine, "compute")
sys.stdin.readline()
while (lease := leases.claim(sys.argv[2])) is not None:
    print(lease.key, lease.token, flush=True)
    leases.finish(lease, Computed(bytes(32), bytes(32), bytes(32)), 0.0)
engine.dispose()
"""


def test_eight_consumers_share_the_work_and_take_nothing_twice(place: str) -> None:
    engine = open_database(place)
    leases = Leases(engine, "compute")
    for question in range(120):
        leases.ask(computation(question), question)
    consumers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, place, str(me)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(8)
    ]
    said = [consumer.communicate("go\n", timeout=120) for consumer in consumers]
    assert [error for _, error in said] == [""] * 8
    grants = Counter(line for out, _ in said for line in out.splitlines())
    assert len(grants) == 120
    assert set(grants.values()) == {1}
    assert {line.split()[1] for line in grants} == {"1"}
    engine.dispose()


def test_server_that_went_away_is_a_typed_error() -> None:
    from protocol.database.engines import make_engine

    leases = Leases(make_engine("postgresql://gradproof@127.0.0.1:9/x"), "compute")
    with pytest.raises(DatabaseUnavailable):
        leases.claim("a")
