"""One test per branch of a round's judgement: who is paid, who is slashed, where the rest goes."""

import pytest

from protocol.rules.records import Reason, TaskResult
from protocol.rules.settlement import Settlement, settle
from tests.support.rounds import (
    COORDINATOR,
    FALSE,
    NONFINITE,
    NOTHING,
    OTHER,
    TRUE,
    UNOPENED,
    RoundCase,
    TaskCase,
    UpdateCase,
    make_terms,
    outcome,
    play,
)

TERMS = make_terms(tasks=1, checks=1)  # w 101, f 111, u 51, B 636, C 254
W, F, U, B, C = 101, 111, 51, 636, 254
WORKER, CHECKER, CHALLENGER = 1000, 2000, 5000
PANEL = (6000, 6001, 6002)
GATHERERS = (4000, 4001, 4002)
DRAWN = (7003, 7004)
UPDATE_CHALLENGER = 7500
UPDATE_PANEL = (8000, 8001, 8002)
QUIET = UpdateCase()


def judge(task: TaskCase, update: UpdateCase = QUIET, posted: int = 0b111) -> Settlement:
    return settle(TERMS, play(RoundCase(TERMS, (task,), update, posted)))


def movements(result: Settlement, question: int) -> set[tuple[str, int, str, int]]:
    lines = [
        (line.kind, int(line.account[2:]), line.reason.name, line.amount)
        for line in result.lines
        if line.question == question
    ]
    assert len(set(lines)) == len(lines)
    return set(lines)


def credit(account: int, reason: str, amount: int) -> tuple[str, int, str, int]:
    return ("credit", account, reason, amount)


def slash(account: int, reason: str, amount: int) -> tuple[str, int, str, int]:
    return ("slash", account, reason, amount)


def burn(reason: str, amount: int) -> tuple[str, int, str, int]:
    return ("burn", 0, reason, amount)


# --- a task without a panel ---


def test_unsealed_task_moves_nothing() -> None:
    result = judge(TaskCase(work=NOTHING))
    assert result.results[0] == TaskResult.EMPTY
    assert movements(result, 0) == set()


def test_checked_and_held_task_is_included_and_paid() -> None:
    result = judge(TaskCase(TRUE, TRUE))
    assert result.results[0] == TaskResult.INCLUDED
    assert result.included == 0b1
    assert movements(result, 0) == {
        credit(WORKER, "TASK_PAID", W),
        credit(CHECKER, "CHECK_PAID", F),
    }


@pytest.mark.parametrize(
    ("held", "posted", "expected"),
    [
        (0b011, 0b111, TaskResult.INCLUDED),
        (0b001, 0b111, TaskResult.LEFT_OUT),
        (0b001, 0b011, TaskResult.LEFT_OUT),  # a half is no majority
        (0b001, 0b001, TaskResult.INCLUDED),
        (0b000, 0b001, TaskResult.LEFT_OUT),  # one gatherer cannot withhold anybody's pay
        (0b000, 0b000, TaskResult.LEFT_OUT),
    ],
)
def test_result_held_by_some_is_paid_whole(held: int, posted: int, expected: TaskResult) -> None:
    result = judge(TaskCase(TRUE, TRUE, held=held), posted=posted)
    assert result.results[0] == expected
    assert credit(WORKER, "TASK_PAID", W) in movements(result, 0)


@pytest.mark.parametrize("posted", [0b011, 0b111])
def test_result_held_by_none_of_several_is_half_paid(posted: int) -> None:
    result = judge(TaskCase(TRUE, TRUE, held=0), posted=posted)
    assert result.results[0] == TaskResult.WITHHELD
    assert movements(result, 0) == {
        credit(WORKER, "TASK_HALVED", 50),
        burn("TASK_HALVED", 51),
        credit(CHECKER, "CHECK_PAID", F),
    }


def test_gatherer_has_no_vote_on_its_own_work() -> None:
    # Two of three hold it, but one of them is the worker itself: one of two is no majority.
    case = RoundCase(TERMS, (TaskCase(TRUE, TRUE, held=0b011),), gatherers=(WORKER, 4001, 4002))
    assert settle(TERMS, play(case)).results[0] == TaskResult.LEFT_OUT


def test_nonfinite_result_is_paid_and_never_included() -> None:
    result = judge(TaskCase(NONFINITE, NONFINITE, held=0))
    assert result.results[0] == TaskResult.NON_FINITE
    assert result.included == 0
    assert credit(WORKER, "TASK_PAID", W) in movements(result, 0)


def test_drawn_worker_that_does_not_open_loses_its_bond() -> None:
    result = judge(TaskCase(UNOPENED, TRUE))
    assert result.results[0] == TaskResult.UNOPENED
    assert movements(result, 0) == {
        slash(WORKER, "UNOPENED", B),
        burn("REMAINDER", B),
        credit(CHECKER, "CHECK_PAID", F),
    }


def test_worker_and_checker_that_do_not_open_both_lose_their_bonds() -> None:
    result = judge(TaskCase(UNOPENED, UNOPENED))
    lines = sorted((line.kind, line.amount) for line in result.lines if line.question == 0)
    assert lines == [("burn", B), ("burn", B), ("slash", B), ("slash", B)]


def undrawn(task: TaskCase) -> tuple[Settlement, int]:
    """Two tasks, one check: `task` is the one that is not drawn."""
    terms = make_terms(tasks=2, checks=1)
    probe = RoundCase(terms, (TaskCase(), TaskCase()))
    free = 0 if probe.drawn == 0b10 else 1
    tasks = [TaskCase(TRUE, TRUE), TaskCase(TRUE, TRUE)]
    tasks[free] = task
    return settle(terms, play(RoundCase(terms, tuple(tasks)))), free


def test_undrawn_worker_that_does_not_open_loses_half_its_pay() -> None:
    result, task = undrawn(TaskCase(UNOPENED))
    assert result.results[task] == TaskResult.UNOPENED
    assert movements(result, task) == {
        slash(1000 + task, "LIVENESS", 50),
        burn("LIVENESS", 50),
    }


def test_undrawn_task_is_paid_without_a_check() -> None:
    result, task = undrawn(TaskCase(TRUE))
    assert movements(result, task) == {credit(1000 + task, "TASK_PAID", W)}


def test_drawn_task_without_a_check_is_released() -> None:
    tasks = (TaskCase(UNOPENED), *[TaskCase(TRUE, TRUE)] * 3)
    terms = make_terms()
    result = settle(terms, play(RoundCase(terms, tasks)))
    assert not result.is_void
    assert result.results[0] == TaskResult.RELEASED
    assert movements(result, 0) == set()


@pytest.mark.parametrize(("unanswered", "void"), [(1, False), (2, True)])
def test_round_with_over_a_third_unanswered_is_void(unanswered: int, void: bool) -> None:
    terms = make_terms(tasks=3, checks=3)
    tasks = [TaskCase(UNOPENED)] * unanswered + [TaskCase(UNOPENED, UNOPENED)] * (3 - unanswered)
    result = settle(terms, play(RoundCase(terms, tuple(tasks), posted=0)))
    assert result.is_void is void
    if void:
        assert set(result.results.values()) == {TaskResult.VOID}
        assert movements(result, 2) == {credit(2002, "CHECK_PAID", F)}
        assert not [line for line in result.lines if line.kind != "credit"]


# --- a dissent ---


def test_dissent_with_the_verdict_for_the_checker_slashes_the_worker() -> None:
    result = judge(TaskCase(FALSE, TRUE, panel=(TRUE, TRUE, FALSE)))
    assert result.results[0] == TaskResult.REJECTED
    assert movements(result, 0) == {
        slash(WORKER, "WRONG", B),
        slash(PANEL[2], "WRONG", B),
        credit(CHECKER, "CHECK_PAID", F),
        credit(PANEL[0], "PANEL_PAID", F),
        credit(PANEL[1], "PANEL_PAID", F),
        credit(CHECKER, "RAISER_PAID", B // 10),
        burn("REMAINDER", 2 * B - 2 * F - B // 10),
    }


def test_dissent_with_the_verdict_for_the_worker_slashes_the_checker() -> None:
    result = judge(TaskCase(TRUE, FALSE, panel=(TRUE, TRUE, TRUE)))
    assert result.results[0] == TaskResult.INCLUDED
    assert movements(result, 0) == {
        credit(WORKER, "TASK_PAID", W),
        slash(CHECKER, "WRONG", B),
        *(credit(member, "PANEL_PAID", F) for member in PANEL),
        burn("REMAINDER", B - 3 * F),
    }


def test_dissent_with_the_verdict_for_a_third_outcome_slashes_both() -> None:
    result = judge(TaskCase(FALSE, OTHER, panel=(TRUE, TRUE, UNOPENED)))
    assert result.results[0] == TaskResult.REJECTED
    assert movements(result, 0) == {
        slash(WORKER, "WRONG", B),
        slash(CHECKER, "WRONG", B),
        slash(PANEL[2], "UNOPENED", B),
        credit(PANEL[0], "PANEL_PAID", F),
        credit(PANEL[1], "PANEL_PAID", F),
        burn("REMAINDER", 3 * B - 2 * F),
    }


def test_unopened_check_is_a_dissent_and_never_raises() -> None:
    result = judge(TaskCase(FALSE, UNOPENED, panel=(TRUE, NOTHING, NOTHING)))
    assert movements(result, 0) == {
        slash(WORKER, "WRONG", B),
        slash(CHECKER, "UNOPENED", B),
        credit(PANEL[0], "PANEL_PAID", F),
        burn("REMAINDER", 2 * B - F),
    }


def test_dissent_without_a_lead_is_half_paid_and_shared() -> None:
    result = judge(TaskCase(TRUE, FALSE, panel=(TRUE, FALSE, OTHER)))
    assert result.results[0] == TaskResult.UNDECIDED
    assert result.included == 0
    owed = 3 * F
    assert movements(result, 0) == {
        *(credit(member, "PANEL_PAID", F) for member in PANEL),
        credit(CHECKER, "CHECK_PAID", F),
        slash(CHECKER, "PANEL_COSTS", owed - owed // 2),
        slash(WORKER, "PANEL_COSTS", owed // 2),
        credit(WORKER, "TASK_HALVED", 50),
        burn("TASK_HALVED", 51),
    }


def test_unopened_check_pays_a_panel_without_a_lead_alone() -> None:
    result = judge(TaskCase(TRUE, UNOPENED, panel=(TRUE, FALSE, UNOPENED)))
    assert movements(result, 0) == {
        credit(PANEL[0], "PANEL_PAID", F),
        credit(PANEL[1], "PANEL_PAID", F),
        slash(PANEL[2], "UNOPENED", B),
        slash(CHECKER, "UNOPENED", B),
        credit(WORKER, "TASK_HALVED", 50),
        burn("TASK_HALVED", 51),
        burn("REMAINDER", 2 * B - 2 * F),
    }


def test_dissent_that_no_panel_took_costs_its_sides_nothing_more() -> None:
    result = judge(TaskCase(TRUE, FALSE))
    assert movements(result, 0) == {
        credit(CHECKER, "CHECK_PAID", F),
        credit(WORKER, "TASK_HALVED", 50),
        burn("TASK_HALVED", 51),
    }


# --- a challenge ---


def test_challenge_that_wins_takes_a_tenth_of_one_bond() -> None:
    result = judge(TaskCase(FALSE, FALSE, TRUE, (TRUE, TRUE, UNOPENED)))
    assert result.results[0] == TaskResult.REJECTED
    assert movements(result, 0) == {
        slash(WORKER, "WRONG", B),
        slash(CHECKER, "WRONG", B),
        slash(PANEL[2], "UNOPENED", B),
        credit(PANEL[0], "PANEL_PAID", F),
        credit(PANEL[1], "PANEL_PAID", F),
        credit(CHALLENGER, "RAISER_PAID", B // 10),
        burn("REMAINDER", 3 * B - 2 * F - B // 10),
    }


@pytest.mark.parametrize("challenge", [UNOPENED, FALSE, TRUE])
def test_challenge_that_loses_is_slashed_even_with_the_accused_outcome(challenge: int) -> None:
    result = judge(TaskCase(TRUE, TRUE, challenge, (TRUE, TRUE, TRUE)))
    reason = "UNOPENED" if challenge == UNOPENED else "WRONG"
    assert movements(result, 0) == {
        credit(WORKER, "TASK_PAID", W),
        credit(CHECKER, "CHECK_PAID", F),
        slash(CHALLENGER, reason, B),
        *(credit(member, "PANEL_PAID", F) for member in PANEL),
        burn("REMAINDER", B - 3 * F),
    }


def test_challenge_without_a_lead_pays_the_panel_and_the_result_stands() -> None:
    result = judge(TaskCase(TRUE, TRUE, FALSE, (TRUE, FALSE, UNOPENED)))
    assert result.results[0] == TaskResult.INCLUDED
    assert movements(result, 0) == {
        credit(WORKER, "TASK_PAID", W),
        credit(CHECKER, "CHECK_PAID", F),
        credit(PANEL[0], "PANEL_PAID", F),
        credit(PANEL[1], "PANEL_PAID", F),
        slash(PANEL[2], "UNOPENED", B),
        slash(CHALLENGER, "PANEL_COSTS", 2 * F),
        burn("REMAINDER", B),
    }


@pytest.mark.parametrize(("challenge", "reason"), [(UNOPENED, "UNOPENED"), (TRUE, "WRONG")])
def test_empty_challenge_without_a_lead_costs_the_whole_bond(challenge: int, reason: str) -> None:
    result = judge(TaskCase(TRUE, TRUE, challenge, (TRUE, FALSE, NOTHING)))
    assert result.results[0] == TaskResult.INCLUDED
    assert slash(CHALLENGER, reason, B) in movements(result, 0)
    assert burn("REMAINDER", B - 2 * F) in movements(result, 0)


# --- the update ---

GOOD = TaskCase(TRUE, TRUE)


def update(
    proposal: int,
    checks: tuple[int, ...],
    challenge: int = NOTHING,
    panel: tuple[int, ...] = (),
    posted: int = 0b111,
) -> Settlement:
    return judge(GOOD, UpdateCase(proposal, checks, challenge, panel), posted)


def test_agreed_update_is_accepted_and_everybody_paid() -> None:
    result = update(TRUE, (TRUE,) * 5)
    assert result.update == outcome(1, TRUE)
    assert movements(result, 1) == {
        credit(COORDINATOR, "UPDATE_PAID", U),
        *(credit(account, "GATHER_PAID", U) for account in GATHERERS),
        *(credit(account, "UPDATE_CHECK_PAID", U) for account in DRAWN),
    }


def test_gatherer_that_passed_on_a_checked_update_is_not_paid() -> None:
    result = update(TRUE, (TRUE, NOTHING, TRUE, TRUE, NOTHING))
    assert result.update == outcome(1, TRUE)
    assert movements(result, 1) == {
        credit(COORDINATOR, "UPDATE_PAID", U),
        credit(4000, "GATHER_PAID", U),
        credit(4002, "GATHER_PAID", U),
        credit(7003, "UPDATE_CHECK_PAID", U),
    }


@pytest.mark.parametrize(
    ("proposal", "checks"),
    [(NOTHING, ()), (UNOPENED, (UNOPENED, NOTHING, NOTHING, NOTHING, NOTHING))],
)
def test_gatherers_are_paid_where_no_update_was_up_for_checking(
    proposal: int, checks: tuple[int, ...]
) -> None:
    result = update(proposal, checks)
    assert result.update is None
    assert not result.coordinator_removed
    assert movements(result, 1) == {credit(account, "GATHER_PAID", U) for account in GATHERERS}


def test_nonfinite_update_is_paid_and_is_none() -> None:
    result = update(NONFINITE, (NONFINITE,) * 5)
    assert result.update is None
    assert credit(COORDINATOR, "UPDATE_PAID", U) in movements(result, 1)


def test_verdict_against_the_proposer_is_the_update() -> None:
    result = update(FALSE, (FALSE, TRUE, TRUE, TRUE, UNOPENED), panel=(TRUE, TRUE, TRUE))
    assert result.update == outcome(1, TRUE)
    assert result.coordinator_removed
    assert movements(result, 1) == {
        slash(COORDINATOR, "WRONG", C),
        slash(4000, "WRONG", B),
        slash(7004, "UNOPENED", B),
        *(credit(member, "PANEL_PAID", U) for member in UPDATE_PANEL),
        credit(4001, "RAISER_PAID", B // 10),
        credit(4001, "GATHER_PAID", U),
        credit(4002, "GATHER_PAID", U),
        credit(7003, "UPDATE_CHECK_PAID", U),
        burn("REMAINDER", C + 2 * B - 3 * U - B // 10),
    }


def test_unopened_proposal_loses_bond_and_post() -> None:
    result = update(UNOPENED, (TRUE,) * 5, panel=(TRUE, TRUE, NOTHING))
    assert result.update == outcome(1, TRUE)
    assert result.coordinator_removed
    assert slash(COORDINATOR, "UNOPENED", C) in movements(result, 1)
    assert credit(4000, "RAISER_PAID", B // 10) in movements(result, 1)


def test_verdict_for_the_proposer_slashes_the_dissenter() -> None:
    result = update(TRUE, (TRUE, TRUE, FALSE, TRUE, TRUE), panel=(TRUE, TRUE, TRUE))
    assert result.update == outcome(1, TRUE)
    assert not result.coordinator_removed
    found = movements(result, 1)
    assert slash(4002, "WRONG", B) in found
    assert credit(COORDINATOR, "UPDATE_PAID", U) in found
    assert not [line for line in found if line[2] == "RAISER_PAID"]


def test_panel_may_find_that_there_is_no_update() -> None:
    result = update(FALSE, (FALSE,) * 5, TRUE, (NONFINITE, NONFINITE, NONFINITE))
    assert result.update is None
    assert result.coordinator_removed
    assert slash(UPDATE_CHALLENGER, "WRONG", B) in movements(result, 1)


def test_challenge_of_the_update_that_wins() -> None:
    result = update(FALSE, (FALSE,) * 5, TRUE, (TRUE, TRUE, TRUE))
    assert result.update == outcome(1, TRUE)
    assert movements(result, 1) == {
        slash(COORDINATOR, "WRONG", C),
        *(slash(account, "WRONG", B) for account in (*GATHERERS, *DRAWN)),
        *(credit(member, "PANEL_PAID", U) for member in UPDATE_PANEL),
        credit(UPDATE_CHALLENGER, "RAISER_PAID", B // 10),
        burn("REMAINDER", C + 5 * B - 3 * U - B // 10),
    }


def test_challenge_of_the_update_without_a_lead_leaves_it_standing() -> None:
    result = update(TRUE, (TRUE,) * 5, FALSE, (TRUE, FALSE, UNOPENED))
    assert result.update == outcome(1, TRUE)
    found = movements(result, 1)
    assert slash(UPDATE_CHALLENGER, "PANEL_COSTS", 2 * U) in found
    assert slash(UPDATE_PANEL[2], "UNOPENED", B) in found
    assert burn("REMAINDER", B) in found
    assert credit(COORDINATOR, "UPDATE_PAID", U) in found


def test_dissent_on_the_update_without_a_lead_ends_the_post_and_shares_the_costs() -> None:
    result = update(TRUE, (TRUE, TRUE, TRUE, FALSE, OTHER), panel=(TRUE, FALSE, OTHER))
    assert result.update is None
    assert result.coordinator_removed
    owed = 3 * U
    assert movements(result, 1) == {
        slash(COORDINATOR, "PANEL_COSTS", owed // 2),
        slash(7003, "PANEL_COSTS", owed - owed // 2),
        *(credit(member, "PANEL_PAID", U) for member in UPDATE_PANEL),
        *(credit(account, "GATHER_PAID", U) for account in GATHERERS),
    }


def test_dissenter_that_did_not_open_pays_its_share_with_its_bond() -> None:
    result = update(TRUE, (UNOPENED, TRUE, TRUE, FALSE, TRUE), panel=(TRUE, FALSE, NOTHING))
    assert movements(result, 1) == {
        slash(COORDINATOR, "PANEL_COSTS", U),
        slash(4000, "UNOPENED", B),
        credit(UPDATE_PANEL[0], "PANEL_PAID", U),
        credit(UPDATE_PANEL[1], "PANEL_PAID", U),
        credit(4001, "GATHER_PAID", U),
        credit(4002, "GATHER_PAID", U),
        burn("REMAINDER", B + U - 2 * U),
    }


def test_unopened_proposal_pays_a_panel_without_a_lead_alone() -> None:
    result = update(UNOPENED, (TRUE, TRUE, TRUE, FALSE, TRUE), panel=(TRUE, FALSE, NOTHING))
    assert result.update is None
    assert result.coordinator_removed
    found = movements(result, 1)
    assert {line for line in found if line[0] == "slash"} == {slash(COORDINATOR, "UNOPENED", C)}
    assert burn("REMAINDER", C - 2 * U) in found


def test_post_survives_a_dissent_that_nobody_judged() -> None:
    result = update(TRUE, (TRUE, TRUE, TRUE, FALSE, TRUE))
    assert result.update is None
    assert not result.coordinator_removed
    assert not [line for line in result.lines if line.reason == Reason.PANEL_COSTS]
