"""What `gradproof worker earnings` says: every task with its verdict, its money, and why."""

from collections import Counter

import pytest

from protocol.rules import draws
from protocol.rules.history import JobHistory, MarketHistory, RoundHistory
from protocol.rules.records import Phase, Slot, TaskResult
from protocol.rules.settlement import settle
from tests.support.rounds import (
    FALSE,
    JOB,
    NONFINITE,
    NOTHING,
    TRUE,
    UNOPENED,
    RoundCase,
    TaskCase,
    address,
    digest,
    make_terms,
    play,
)
from worker.earnings import WHY, Earning, earnings

TERMS = make_terms(tasks=1, checks=1)
W, B = TERMS.reward, TERMS.bond
WORKER, OTHER_WORKER = address(1000), address(1500)
PANEL_OUT = (FALSE, FALSE, FALSE)

CASES: dict[TaskResult, tuple[TaskCase, int, int]] = {
    TaskResult.INCLUDED: (TaskCase(check=TRUE), W, 0),
    TaskResult.LEFT_OUT: (TaskCase(check=TRUE, held=0b001), W, 0),
    TaskResult.WITHHELD: (TaskCase(check=TRUE, held=0), W // 2, 0),
    TaskResult.NON_FINITE: (TaskCase(NONFINITE, check=NONFINITE), W, 0),
    TaskResult.REJECTED: (TaskCase(check=FALSE, panel=PANEL_OUT), 0, B),
    TaskResult.UNOPENED: (TaskCase(UNOPENED, check=TRUE), 0, B),
    TaskResult.EMPTY: (TaskCase(NOTHING), 0, 0),
    TaskResult.UNDECIDED: (TaskCase(check=FALSE, panel=(TRUE, FALSE)), W // 2, TERMS.fee),
    TaskResult.VOID: (TaskCase(), 0, 0),
}


def finished(case: RoundCase) -> RoundHistory:
    """The round, settled by the rules, one worker slot per task."""
    record = play(case)
    tasks, seed = case.terms.tasks, digest("seed")
    record.beacons[Phase.SEED] = seed
    owner_of = {draws.roster_index_of_task(seed, t, tasks): t for t in range(tasks)}
    record.workers = [(Slot(i + 1), address(1000 + owner_of[i])) for i in range(tasks)]
    judged = settle(case.terms, record)
    record.lines, record.results = judged.lines, judged.results
    record.settled_in = {task: f"0x{task:064x}" for task in judged.results}
    record.finalised = True
    return record


def market(record: RoundHistory) -> MarketHistory:
    """One job with one round."""
    past = JobHistory(JOB, address(1), 0, TERMS, 1, digest("root"), digest("cid"))
    past.members = Counter([WORKER, OTHER_WORKER])
    past.rounds = [record]
    return MarketHistory(jobs={JOB: past})


def only(record: RoundHistory, provider: str = WORKER) -> Earning:
    [found] = earnings(market(record), address(int(provider[2:])))
    return found


@pytest.mark.parametrize("result", CASES, ids=lambda r: r.name)
def test_each_verdict_shows_its_money_and_why(result: TaskResult) -> None:
    case, paid, lost = CASES[result]
    record = finished(RoundCase(TERMS, (case,)))
    found = only(record)
    assert record.results[0] == result
    assert (found.job, found.round, found.task) == (JOB, 0, 0)
    assert found.verdict == result.name.lower().replace("_", " ")
    assert found.paid == paid
    assert found.lost == lost
    assert found.transaction == record.settled_in[0]
    assert found.why == WHY[result]


def test_every_verdict_has_its_reason() -> None:
    assert set(WHY) == set(TaskResult)


def test_open_round_says_where_it_stands() -> None:
    record = finished(RoundCase(TERMS, (TaskCase(check=TRUE),)))
    record.results, record.settled_in, record.lines = {}, {}, []
    record.finalised, record.phase = False, Phase.UPDATE_CHECK
    found = only(record)
    assert (found.verdict, found.paid, found.lost) == ("open", 0, 0)
    assert found.why == "the round has come to: update check"
    assert found.transaction == "0x"  # of the seal


def test_claimed_task_belongs_to_who_claimed_it() -> None:
    """The slot that left it unserved sees why it gets nothing, and loses nothing."""
    record = finished(RoundCase(TERMS, (TaskCase(NOTHING),)))
    record.claims[0] = (Slot(9), OTHER_WORKER)
    judged = settle(TERMS, record)
    record.lines = judged.lines
    assert only(record, OTHER_WORKER).lost == W // 2
    left = only(record)
    assert (left.verdict, left.paid, left.lost) == ("claimed", 0, 0)


def test_strangers_have_no_earnings() -> None:
    record = finished(RoundCase(TERMS, (TaskCase(check=TRUE),)))
    assert earnings(market(record), address(77)) == []
    record.beacons.clear()  # nothing is assigned before the seed is drawn
    assert earnings(market(record), WORKER) == []
