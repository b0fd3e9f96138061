"""What a worker does in each phase, and what it never does."""

import dataclasses
from typing import Any

import pytest

from protocol.role.actions import Action, Answer, Send
from protocol.role.sight import Sight
from protocol.rules.records import Address, Ending, JobId, Phase, Slot, Stage
from protocol.rules.seats import task_owners
from tests.support.rounds import JOB, address, digest, make_terms
from tests.support.sights import NOW, WORKERS, Scene
from worker import claim
from worker.capacity import Room
from worker.claim import FROZEN, Limits
from worker.pace import Debt, Pace

ME = WORKERS[0][1]
LIMITS = Limits()
IDLE = [p for p in Phase if p not in (Phase.NONE, Phase.COMMIT, Phase.REVEAL)]


BLOCK_SECONDS = 1.0


def paced(seconds: float, **more: Any) -> Pace:
    """One consumer that takes so long for each task of the job, and has nothing else to do."""
    return Pace(BLOCK_SECONDS, {JOB: {"a": seconds}}, **more)


FAST = paced(0.1)


def decide(sight: Sight, limits: Limits, pace: Pace = FAST) -> list[Action]:
    """What it does where there is room for as many slots as it likes."""
    return claim.decide(sight, limits, {JOB: Room(limits.slots or 1)}, pace)


def owners(scene: Scene) -> list[tuple[Slot, Address]]:
    return task_owners(digest("seed"), scene.terms.tasks, scene.record.workers)


def my_tasks(scene: Scene) -> list[int]:
    return [task for task, (_, provider) in enumerate(owners(scene)) if provider == ME]


def stranger(**changes: object) -> Scene:
    """Somebody who has never joined this job."""
    return Scene(provider=address(77), **changes)  # type: ignore[arg-type]  # any field


# --- commit ---


def test_commit_computes_every_own_task_and_no_other() -> None:
    scene = Scene()
    assert my_tasks(scene), "the seed gives this slot something to do"
    assert len(my_tasks(scene)) < scene.terms.tasks
    expected = [Answer(JOB, 0, Stage.WORK, task, 0) for task in my_tasks(scene)]
    assert decide(scene.look(), LIMITS) == expected


def test_commit_seals_together_what_is_safe_on_disk() -> None:
    scene = Scene()
    sealed = tuple((task, scene.keep(Stage.WORK, task).hash) for task in my_tasks(scene))
    assert len(sealed) > 1
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("sealTasks", (JOB, 0, WORKERS[0][0], sealed))
    assert [part.args[-1] for part in send.parts] == [(part,) for part in sealed]


def test_seals_of_a_slot_wait_for_each_other_a_quarter_of_the_window() -> None:
    scene = Scene()
    first, *rest = my_tasks(scene)
    opening = scene.keep(Stage.WORK, first)
    left = [Answer(JOB, 0, Stage.WORK, task, 0) for task in rest]
    quarter = scene.look().jobs[JOB].round.deadline - 3 * scene.terms.windows.commit // 4
    scene.now = quarter - 1
    assert decide(scene.look(), LIMITS) == left
    scene.now = quarter
    *answers, send = decide(scene.look(), LIMITS)
    assert answers == left
    assert isinstance(send, Send)
    where = (JOB, 0, WORKERS[0][0])
    assert (send.function, send.args) == ("sealTasks", (*where, ((first, opening.hash),)))


def test_seal_that_the_pending_block_has_is_not_sent_again() -> None:
    scene = Scene()
    first, *rest = my_tasks(scene)
    for task in my_tasks(scene):
        scene.keep(Stage.WORK, task)
    scene.round_fields = {"sealed_tasks": 1 << first}
    [send] = decide(scene.look(), LIMITS)
    assert [task for task, _ in send.args[-1]] == rest  # type: ignore[union-attr]  # a send


def test_commit_does_nothing_twice() -> None:
    scene = Scene()
    for task in my_tasks(scene):
        scene.keep(Stage.WORK, task)
        scene.seal(Stage.WORK, task)
    assert decide(scene.look(), LIMITS) == []


def test_nothing_is_computed_before_the_opening_was_read() -> None:
    scene = Scene(round_fields={"number": 1})
    assert decide(scene.look(), LIMITS) == []


@pytest.mark.parametrize("phase", IDLE)
def test_other_phases_give_a_worker_nothing_to_do(phase: Phase) -> None:
    scene = Scene(phase=phase)
    for task in my_tasks(scene):
        scene.keep(Stage.WORK, task)
        scene.seal(Stage.WORK, task)
    assert decide(scene.look(), LIMITS) == []


# --- claims ---


def idle(task: int = 0) -> Scene:
    """All tasks but one are sealed, which is not mine; the second half of the window begins."""
    scene = Scene(now=NOW + 10)
    owner = {task: owner for task, (_, owner) in enumerate(owners(scene))}
    others = [t for t in owner if owner[t] != ME]
    left = others[task]
    for t in owner:
        if t != left:
            scene.seal(Stage.WORK, t, provider=owner[t])
    return scene


def test_unserved_task_is_claimed_in_the_second_half_only() -> None:
    scene = idle()
    [left] = [t for t in range(scene.terms.tasks) if (Stage.WORK, t, 0) not in scene.record.seals]
    slot = WORKERS[0][0]
    for now, expected in ((NOW + 9, 0), (NOW + 10, 1), (NOW + 14, 1), (NOW + 15, 0)):
        scene.now = now
        sends = [a for a in decide(scene.look(), LIMITS) if isinstance(a, Send)]
        assert [s.function for s in sends] == ["claim"] * expected
        assert all(s.args == (JOB, 0, left, slot) for s in sends)
    scene.now = NOW + 10
    assert decide(scene.look(), Limits(claims=False)) == []


def claimed(scene: Scene, pace: Pace) -> int:
    """How many tasks it claims."""
    actions = decide(scene.look(), LIMITS, pace)
    return sum(isinstance(a, Send) and a.function == "claim" for a in actions)


def test_claim_is_made_only_where_three_quarters_of_what_is_left_hold_the_task() -> None:
    scene = idle()
    left = NOW + scene.terms.windows.commit - scene.now
    assert claimed(scene, paced(0.75 * left)) == 1
    assert claimed(scene, paced(0.75 * left + 0.1)) == 0
    scene.now += 1
    assert claimed(scene, paced(0.75 * left)) == 0, "a block later it is too late"


def test_what_nobody_has_measured_is_not_claimed() -> None:
    scene = idle()
    assert claimed(scene, Pace()) == 0
    assert claimed(scene, Pace(None, {JOB: {"a": 0.1}})) == 0, "blocks come at an unknown pace"
    assert claimed(scene, Pace(1.0, {JOB: {}})) == 0, "nobody is there to compute"
    stranger = Debt(NOW + 20, {})
    assert claimed(scene, paced(0.1, elsewhere=(stranger,))) == 0, "it may take for ever"


def test_what_consumers_owe_comes_first() -> None:
    scene = idle()
    check = {(JobId(99), 0, 1): Debt(NOW + 20, {"a": 4.0})}
    assert claimed(scene, paced(3.0)) == 1
    assert claimed(scene, paced(3.0, owed=check)) == 1, "7 s of 7.5"
    assert claimed(scene, paced(4.0, owed=check)) == 0
    two = Pace(1.0, {JOB: {"a": 4.0, "b": 4.0}}, check)
    assert claimed(scene, two) == 1, "another one is free"


def with_slots(slots: int) -> Scene:
    """Nobody but this worker is here, with so many slots; what it was due is sealed."""
    scene = Scene(now=NOW + 10)
    mine = [(Slot(10 + n), ME) for n in range(slots)]
    scene.record.workers[:] = [*mine, WORKERS[1]]
    return scene


def test_own_tasks_count_before_they_are_asked_for_and_are_not_claimed() -> None:
    scene = with_slots(3)
    own = [t for t, (_, owner) in enumerate(owners(scene)) if owner == ME]
    others = scene.terms.tasks - len(own)
    assert (len(own), others) == (3, 1)
    assert claimed(scene, paced(0.1)) == 1
    assert claimed(scene, paced(7.5 / 4)) == 1
    assert claimed(scene, paced(7.5 / 4 + 0.1)) == 0, "three of its own, and a fourth"
    asked = {(JOB, 0, t): Debt(NOW + 20, {"a": 7.5 / 4}) for t in own}
    assert claimed(scene, paced(7.5 / 4, owed=asked)) == 1, "what was asked for counts once"


def newcomer(slots: int) -> Scene:
    """It has slots of its own and has sealed what they were due; others have sealed nothing."""
    me = address(77)
    scene = Scene(make_terms(tasks=8, checks=2), now=NOW + 10, provider=me)
    scene.record.workers += [(Slot(10 + n), me) for n in range(slots)]
    for task, (_, owner) in enumerate(owners(scene)):
        if owner == me:
            scene.seal(Stage.WORK, task)
    return scene


def test_no_more_is_claimed_than_fits() -> None:
    scene = newcomer(slots=2)
    assert claimed(scene, paced(0.1)) == 2, "one for each slot"
    assert claimed(scene, paced(7.5 / 2)) == 2
    assert claimed(scene, paced(7.5)) == 1
    late = dataclasses.replace(scene.look(), read=scene.now - 2)
    actions = decide(late, LIMITS, paced(7.5))
    assert not any(isinstance(a, Send) for a in actions), "it would be acted on a block later"


def test_claim_of_a_moment_ago_may_be_ones_own() -> None:
    scene = newcomer(slots=1)
    [claim_] = [a for a in decide(scene.look(), LIMITS) if isinstance(a, Send)]
    scene.round_fields = {"claimed": 1 << claim_.args[2]}
    assert claimed(scene, paced(7.5)) == 0
    assert claimed(scene, paced(7.5 / 2)) == 1


def test_claims_wait_for_what_later_jobs_have_to_do() -> None:
    """The order of jobs says nothing about what is due first."""
    scene = idle()
    other = Scene()
    sight = scene.look()
    busy = dataclasses.replace(
        other.look().jobs[JOB], past=dataclasses.replace(other.past, job=JobId(JOB + 1))
    )
    sight = dataclasses.replace(sight, jobs={**sight.jobs, JobId(JOB + 1): busy})
    speeds = {JOB: {"a": 3.0}, JobId(JOB + 1): {"a": 3.0}}

    def claims(pace: Pace) -> int:
        actions = claim.decide(sight, LIMITS, {}, pace)
        assert any(isinstance(a, Answer) and a.job != JOB for a in actions)
        return sum(
            isinstance(a, Send) and (a.function, a.args[0]) == ("claim", JOB) for a in actions
        )

    assert claims(Pace(BLOCK_SECONDS, speeds)) == 0
    assert claims(Pace(BLOCK_SECONDS, {job: {"a": 0.5} for job in speeds})) == 1


def test_claimed_task_is_computed_and_sealed_with_the_claiming_slot() -> None:
    scene = idle()
    [left] = [t for t in range(scene.terms.tasks) if (Stage.WORK, t, 0) not in scene.record.seals]
    slot = WORKERS[0][0]
    scene.record.claims[left] = (slot, ME)
    assert decide(scene.look(), LIMITS) == [Answer(JOB, 0, Stage.WORK, left, 0)]
    opening = scene.keep(Stage.WORK, left)
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("sealTasks", (JOB, 0, slot, ((left, opening.hash),)))


def test_task_that_somebody_else_claimed_is_left_alone() -> None:
    scene = Scene()
    mine = my_tasks(scene)
    scene.record.claims[mine[0]] = WORKERS[1]
    asked = [a.question for a in decide(scene.look(), LIMITS) if isinstance(a, Answer)]
    assert asked == mine[1:]


# --- reveal ---


def test_reveal_opens_own_seals() -> None:
    scene = Scene(phase=Phase.REVEAL)
    task = my_tasks(scene)[0]
    opening = scene.keep(Stage.WORK, task)
    scene.seal(Stage.WORK, task)
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert send.function == "open"
    o = opening.outcome
    shown = (int(Stage.WORK), task, 0, (o.root, o.cid, o.h), opening.salt)
    assert send.args == (JOB, 0, (shown,))


def test_openings_of_a_round_travel_together() -> None:
    scene = Scene(phase=Phase.REVEAL)
    for task in my_tasks(scene):
        scene.keep(Stage.WORK, task)
        scene.seal(Stage.WORK, task)
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert [shown[1] for shown in send.args[-1]] == my_tasks(scene)
    assert [part.args[-1] for part in send.parts] == [(shown,) for shown in send.args[-1]]
    scene.round_fields = {"opened_tasks": sum(1 << task for task in my_tasks(scene))}
    assert decide(scene.look(), LIMITS) == [], "the pending block has them"


def test_reveal_opens_nothing_twice() -> None:
    scene = Scene(phase=Phase.REVEAL)
    task = my_tasks(scene)[0]
    scene.keep(Stage.WORK, task)
    scene.seal(Stage.WORK, task, opened=True)
    assert decide(scene.look(), LIMITS) == []


def test_released_task_is_not_opened() -> None:
    scene = Scene(phase=Phase.REVEAL)
    task, other = my_tasks(scene)[:2]
    for sealed in (task, other):
        scene.keep(Stage.WORK, sealed)
        scene.seal(Stage.WORK, sealed)
    scene.round_fields = {"drawn": 1 << task, "answered": 0}
    [send] = decide(scene.look(), LIMITS)
    assert [shown[1] for shown in send.args[-1]] == [other]  # type: ignore[union-attr]  # a send
    scene.round_fields = {"drawn": 1 << task, "answered": 1 << task}
    [send] = decide(scene.look(), LIMITS)
    assert len(send.args[-1]) == 2  # type: ignore[union-attr]  # a send


def test_seal_of_somebody_else_is_left_alone() -> None:
    scene = Scene(phase=Phase.REVEAL)
    scene.keep(Stage.WORK, 0)
    scene.seal(Stage.WORK, 0, provider=address(77))
    assert decide(scene.look(), LIMITS) == []


def test_opening_that_was_not_sealed_is_not_sent() -> None:
    """The seal on chain was made with another salt, by another machine of the same owner."""
    scene = Scene(phase=Phase.REVEAL)
    scene.keep(Stage.WORK, 0)
    scene.seal(Stage.WORK, 0).hash = digest("another")
    assert decide(scene.look(), LIMITS) == []


# --- joining and leaving ---


@pytest.mark.parametrize("phase", [p for p in Phase if p not in (*FROZEN, Phase.NONE, Phase.ENDED)])
def test_stranger_joins_where_the_roster_may_change(phase: Phase) -> None:
    [send] = decide(stranger(phase=phase).look(), Limits(slots=3))
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("join", (JOB, address(77), 3))


@pytest.mark.parametrize("phase", [*FROZEN, Phase.ENDED])
def test_nobody_joins_a_frozen_roster(phase: Phase) -> None:
    assert decide(stranger(phase=phase).look(), LIMITS) == []


def test_nobody_joins_without_room() -> None:
    scene = stranger(phase=Phase.WAITING)
    assert claim.decide(scene.look(), LIMITS, {}, Pace()) == [], "it has not been weighed yet"
    assert claim.decide(scene.look(), LIMITS, {JOB: Room(0, "too slow")}, Pace()) == []


def test_nobody_joins_a_stopped_job() -> None:
    assert decide(stranger(phase=Phase.WAITING, stopped=True).look(), LIMITS) == []


def test_owner_limits_are_kept() -> None:
    scene = stranger(phase=Phase.WAITING)
    assert decide(scene.look(), Limits(smallest_reward=102)) == []
    assert decide(scene.look(), Limits(smallest_reward=101))


def test_job_that_was_not_vetted_is_neither_joined_nor_computed() -> None:
    for scene in (stranger(phase=Phase.WAITING), Scene(phase=Phase.COMMIT)):
        scene.fit = False
        assert decide(scene.look(), LIMITS) == []


def test_what_was_sealed_is_opened_even_where_the_manifest_is_gone() -> None:
    scene = Scene(phase=Phase.REVEAL, fit=False)
    scene.keep(Stage.WORK, 0)
    scene.seal(Stage.WORK, 0)
    assert len(decide(scene.look(), LIMITS)) == 1


def test_slashed_worker_does_not_join_again() -> None:
    scene = Scene(phase=Phase.WAITING)
    scene.past.drop_slot(WORKERS[0][0])
    assert ME not in [provider for _, provider in scene.past.roster]
    scene.past.slashed.add(ME)
    assert decide(scene.look(), LIMITS) == []


def test_worker_that_left_may_join_again() -> None:
    scene = Scene(phase=Phase.WAITING)
    scene.past.drop_slot(WORKERS[0][0])
    [send] = decide(scene.look(), Limits(slots=2))
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("join", (JOB, ME, 2))
    assert send.key == f"{JOB}/join/1", (
        "one key per joining, or the sender sends none but the first"
    )


def test_bonds_of_a_finished_job_are_taken_home() -> None:
    scene = Scene(phase=Phase.ENDED)
    scene.past.ending = Ending.COMPLETED
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("leave", (JOB, WORKERS[0][0]))
    scene.past.drop_slot(WORKERS[0][0])
    assert decide(scene.look(), LIMITS) == []


def test_round_that_its_coordinator_leaves_standing_is_moved_on() -> None:
    scene = Scene(phase=Phase.WAITING, advance_due=True)
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("advance", (JOB,))
