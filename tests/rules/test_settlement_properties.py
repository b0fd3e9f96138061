"""What holds for every round, however its actors behaved."""

from collections import defaultdict
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.rules.history import Line
from protocol.rules.records import Reason, Stage, Terms
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
    address,
    digest,
    make_terms,
    play,
)

POT_REASONS = {Reason.PANEL_PAID, Reason.RAISER_PAID}
POT_BURNS = {Reason.REMAINDER, Reason.LIVENESS}
ANSWERS = st.sampled_from([NOTHING, UNOPENED, NONFINITE, TRUE, TRUE, FALSE, OTHER])
WORKS = st.sampled_from([NOTHING, UNOPENED, TRUE, TRUE, TRUE, FALSE, NONFINITE])
CHECKS = st.sampled_from([NOTHING, UNOPENED, TRUE, TRUE, TRUE, FALSE, OTHER])


@st.composite
def terms_of_jobs(draw: st.DrawFn) -> Terms:
    tasks = draw(st.integers(1, 5))
    return make_terms(
        tasks=tasks,
        checks=draw(st.integers(1, tasks)),
        panel=draw(st.sampled_from([1, 3, 5])),
        reward=(reward := draw(st.integers(1, 1000))),
        fee=reward + draw(st.integers(0, 1000)),
        update_fee=draw(st.integers(0, 1000)),
    )


@st.composite
def rounds(draw: st.DrawFn, *, truth_wins: bool = False) -> RoundCase:
    """A round that the market could have seen; with `truth_wins`, TRUE leads on every panel."""
    terms = draw(terms_of_jobs())

    def panel() -> tuple[int, ...]:
        votes = draw(st.lists(ANSWERS, min_size=terms.panel, max_size=terms.panel))
        if truth_wins:
            for seat in range(terms.panel // 2 + 1):
                votes[seat] = TRUE
        return tuple(votes)

    beacon = digest("beacon", draw(st.integers(0, 20)))
    work = [draw(WORKS) for _ in range(terms.tasks)]
    probe = RoundCase(terms, tuple(TaskCase(w) for w in work), draw=beacon)
    tasks = []
    for task, sealed in enumerate(work):
        drawn = bool(probe.drawn >> task & 1)
        check = draw(CHECKS) if drawn else NOTHING
        if drawn and check == NOTHING:
            sealed = UNOPENED  # released: nobody can open it
        dissent = check not in (NOTHING, sealed)
        opened = sealed >= NONFINITE
        challenge = draw(ANSWERS) if opened and not dissent else NOTHING
        asked = opened and (dissent or challenge != NOTHING)
        tasks.append(
            TaskCase(sealed, check, challenge, panel() if asked else (), draw(st.integers(0, 7)))
        )
    return RoundCase(
        terms, tuple(tasks), draw(updates(terms, panel)), draw(st.integers(0, 7)), beacon
    )


@st.composite
def updates(draw: st.DrawFn, terms: Terms, panel: Callable[[], tuple[int, ...]]) -> UpdateCase:
    proposal = draw(WORKS)
    if proposal == NOTHING:
        return UpdateCase()
    checks = tuple(draw(CHECKS) for _ in range(terms.gatherers + 2))
    if checks[-2:] == (NOTHING, NOTHING):
        return UpdateCase(UNOPENED, tuple(min(c, UNOPENED) for c in checks))
    agreed = proposal >= NONFINITE and all(c in (NOTHING, proposal) for c in checks)
    challenge = draw(ANSWERS) if agreed else NOTHING
    asked = not agreed or challenge != NOTHING
    return UpdateCase(proposal, checks, challenge, panel() if asked else ())


def settled(case: RoundCase) -> Settlement:
    """Gatherers of the update are those that posted; others have no seat in it."""
    round_ = play(case)
    for seat in range(case.terms.gatherers):
        if seat not in round_.gathered:
            round_.seals.pop((Stage.UPDATE_CHECK, case.terms.update_question, seat), None)
    return settle(case.terms, round_)


def by_question(result: Settlement) -> dict[int, list[Line]]:
    found = defaultdict(list)
    for line in result.lines:
        found[line.question].append(line)
    return found


def total(lines: list[Line], kind: str, reasons: set[Reason] | None = None) -> int:
    return sum(
        line.amount
        for line in lines
        if line.kind == kind and (reasons is None or line.reason in reasons)
    )


@given(rounds())
@settings(max_examples=150)
def test_slashed_money_goes_to_panel_and_raiser_or_is_burnt(case: RoundCase) -> None:
    for lines in by_question(settled(case)).values():
        spent = total(lines, "credit", POT_REASONS) + total(lines, "burn", POT_BURNS)
        assert spent == total(lines, "slash")


@given(rounds())
@settings(max_examples=150)
def test_escrow_pays_at_most_its_worst_case(case: RoundCase) -> None:
    terms, result = case.terms, settled(case)
    from_escrow = 0
    for question, lines in by_question(result).items():
        paid = total(lines, "credit") + total(lines, "burn") - total(lines, "slash")
        if question == terms.tasks:
            share = (terms.gatherers + 3) * terms.update_fee
        else:
            share = terms.reward + (terms.fee if case.drawn >> question & 1 else 0)
        assert 0 <= paid <= share
        from_escrow += paid
    assert from_escrow <= (
        terms.tasks * terms.reward
        + terms.checks * terms.fee
        + (terms.gatherers + 3) * terms.update_fee
    )


@given(rounds())
@settings(max_examples=150)
def test_nobody_loses_more_than_the_bond_behind_the_seal(case: RoundCase) -> None:
    lost: dict[str, int] = defaultdict(int)
    for line in settled(case).lines:
        assert line.amount > 0
        if line.kind == "slash":
            lost[line.account] += line.amount
    for account, amount in lost.items():
        coordinator = account == address(COORDINATOR)
        bond = case.terms.coordinator_bond if coordinator else case.terms.bond
        assert amount <= bond


@given(rounds(truth_wins=True))
@settings(max_examples=150)
def test_true_answer_opened_in_time_is_never_slashed_while_truth_wins(case: RoundCase) -> None:
    truth = {
        seal.provider
        for seal in play(case).seals.values()
        if seal.outcome is not None and seal.outcome.root == digest("root", seal.question, TRUE)
    }
    # A challenger that seals what the accused sealed accuses nobody of anything.
    copies = {
        address(5000 + task) for task, deeds in enumerate(case.tasks) if deeds.work == TRUE
    } | ({address(7500)} if case.update.proposal == TRUE else set())
    slashed = {line.account for line in settled(case).lines if line.kind == "slash"}
    assert not (truth - copies) & slashed


@given(rounds(truth_wins=True))
@settings(max_examples=100)
def test_false_outcome_is_never_included_once_a_panel_saw_it(case: RoundCase) -> None:
    result = settled(case)
    for task, deeds in enumerate(case.tasks):
        if deeds.panel and deeds.work != TRUE and not result.is_void:
            assert not result.included >> task & 1
