"""Who is paid, who is slashed, and why: the whole judgement of a round, derived from its record.

An auditor runs `settle` over the history of a finished round and compares every line with the money
that really moved; it shares nothing with the contract but the rules. Amounts are integers in the
token's smallest unit.
"""

from protocol.rules.draws import drawn_tasks
from protocol.rules.history import RoundHistory
from protocol.rules.records import Phase, Stage, TaskResult, Terms
from protocol.rules.settlement_ledger import Settlement
from protocol.rules.settlement_tasks import TaskJudge
from protocol.rules.settlement_update import UpdateJudge

__all__ = ["Settlement", "settle"]


def settle(terms: Terms, round_: RoundHistory) -> Settlement:
    """Judge a finished round."""
    out = Settlement()
    tasks = TaskJudge(terms, round_, out)
    drawn, unanswered = _checks(terms, round_)
    out.is_void = unanswered * 3 > drawn.bit_count()
    if out.is_void:
        for task in range(terms.tasks):
            tasks.void(task)
        return out
    for task in range(terms.tasks):
        out.results[task] = tasks.judge(task, bool(drawn >> task & 1))
        if out.results[task] == TaskResult.INCLUDED:
            out.included |= 1 << task
    UpdateJudge(terms, round_, out).judge()
    return out


def _checks(terms: Terms, round_: RoundHistory) -> tuple[int, int]:
    """Bitmap of the drawn tasks, and how many of them nobody answered for."""
    sealed = sum(1 << task for task in range(terms.tasks) if round_.seal(Stage.WORK, task))
    draw = round_.beacons.get(Phase.DRAW)
    drawn = 0 if draw is None else drawn_tasks(draw, sealed, terms.tasks, terms.checks)
    unanswered = sum(
        1
        for task in range(terms.tasks)
        if drawn >> task & 1 and round_.seal(Stage.CHECK, task) is None
    )
    return drawn, unanswered
