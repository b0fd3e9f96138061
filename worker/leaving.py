"""What a worker that leaves still waits for: pure, from one sight.

It serves the round that its slots are bound to, hands its results to the gatherers, and takes its
slots out as soon as the roster may change.
"""

from collections.abc import Iterator

from protocol.role.leaving import counted, place, unopened
from protocol.role.sight import JobSight, Sight
from protocol.rules.records import Phase, Stage
from protocol.rules.sealing import is_finite
from worker.claim import own_tasks


def unfinished(sight: Sight) -> list[str]:
    """Everything that it would pay for dropping, in words."""
    found: list[str] = []
    for js in sight.jobs.values():
        found += _unsealed(sight, js)
    found += unopened(sight)
    for js in sight.jobs.values():
        found += _ungathered(sight, js)
    for past in sight.market.jobs.values():
        slots = sum(owner == sight.provider for _, owner in past.roster)
        if slots:
            found.append(f"to leave job {past.job} with {counted(slots, 'slot')}")
    return found


def _unsealed(sight: Sight, js: JobSight) -> Iterator[str]:
    record = js.open_round
    if record is None or js.round.phase != Phase.COMMIT or not js.fit:
        return
    tasks = [t for t, _ in own_tasks(sight, js, record) if record.seal(Stage.WORK, t) is None]
    if tasks:
        yield f"to seal {counted(len(tasks), 'task')} of {place(record, js)}"


def _ungathered(sight: Sight, js: JobSight) -> Iterator[str]:
    """Results that gatherers may yet ask for: one that none of them gets is paid by half."""
    record = js.open_round
    if record is None or js.round.phase > Phase.GATHER:
        return
    results = sum(
        seal.provider == sight.provider and seal.outcome is not None and is_finite(seal.outcome)
        for (stage, _, _), seal in record.seals.items()
        if stage == Stage.WORK
    )
    if results:
        yield f"for gatherers to fetch {counted(results, 'result')} of {place(record, js)}"
