"""What a verifier does in each phase, and whose seats it never takes."""

from collections.abc import Sequence

import pytest

from protocol.role.actions import Action, Answer, Hold, Send
from protocol.rules import seats
from protocol.rules.draws import drawn_tasks
from protocol.rules.records import Phase, Stage, bits
from protocol.rules.turns import TURNS
from tests.support.rounds import JOB, address
from tests.support.sights import COORDINATOR, NOW, VERIFIERS, Scene
from verifier.draw import Limits, decide

LIMITS = Limits()
PROVIDERS = [provider for _, provider in VERIFIERS]
DRAWN = 0b0101
UPDATE = 4  # the update's question: four tasks come before it


def scene_in(phase: Phase, **fields: object) -> Scene:
    """All tasks sealed and drawn tasks checked, seen in `phase`."""
    scene = Scene(phase=phase, round_fields=dict(fields))
    scene.seal_all_tasks()
    return scene


def everybody(scene: Scene) -> dict[str, Sequence[Action]]:
    """What each verifier of the roster would do."""
    found = {}
    for provider in PROVIDERS:
        scene.provider = provider
        found[provider] = decide(scene.look(), LIMITS)
    return found


def drawn_bitmap(scene: Scene) -> int:
    """The tasks that this scene's beacon draws."""
    draw = scene.look().jobs[JOB].round.draw
    return drawn_tasks(draw, 0b1111, scene.terms.tasks, scene.terms.checks)


def check_candidates(scene: Scene) -> dict[int, list[seats.Seat]]:
    js = scene.look().jobs[JOB]
    redraw = js.round.redraw if scene.phase == Phase.RECHECK else None
    return seats.check_seats(
        scene.terms, js.round.draw, js.round.drawn, scene.record, js.roster, redraw
    )


def check_holders(scene: Scene) -> dict[int, seats.Seat]:
    """Whose turn comes first."""
    return {task: candidates[0] for task, candidates in check_candidates(scene).items()}


# --- check ---


def test_each_drawn_task_is_checked_by_its_holder_alone() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    holders = check_holders(scene)
    assert len(holders) == scene.terms.checks
    for provider, actions in everybody(scene).items():
        mine = [task for task, seat in holders.items() if seat.provider == provider]
        assert actions == [Answer(JOB, 0, Stage.CHECK, task, 0) for task in mine]


def test_check_is_sealed_from_disk_and_then_done() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    task, seat = next(iter(check_holders(scene).items()))
    scene.provider = seat.provider
    opening = scene.keep(Stage.CHECK, task)
    [send] = [a for a in decide(scene.look(), LIMITS) if isinstance(a, Send)]
    assert (send.function, send.args) == ("sealCheck", (JOB, 0, task, 0, opening.hash))
    scene.seal(Stage.CHECK, task)
    left = decide(scene.look(), LIMITS)
    assert not [a for a in left if isinstance(a, Send) or a.question == task]  # type: ignore[union-attr]  # answers


def test_next_candidates_follow_by_the_clock() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    quarter = scene.terms.windows.check // TURNS
    for turn in range(TURNS):
        for late in (0, quarter - 1):
            scene.now = NOW + turn * quarter + late
            acting = everybody(scene)
            for task, candidates in check_candidates(scene).items():
                answer = Answer(JOB, 0, Stage.CHECK, task, 0)
                able = {s.provider for s in candidates[: turn + 1]}
                assert {p for p, actions in acting.items() if answer in actions} == able


def test_pass_hands_the_check_to_the_next_candidate_at_once() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    task, candidates = next(iter(check_candidates(scene).items()))
    scene.record.passed[Phase.CHECK, task, 0] = {0: NOW}
    answer = Answer(JOB, 0, Stage.CHECK, task, 0)
    able = [p for p, actions in everybody(scene).items() if answer in actions]
    assert able == [candidates[1].provider]


def test_second_draw_is_passed_again() -> None:
    """One key for both windows would let the sender send the first pass alone."""
    keys: list[set[str]] = []
    for phase in (Phase.CHECK, Phase.RECHECK):
        scene = scene_in(phase)
        scene.fit = False
        scene.round_fields["drawn"] = drawn_bitmap(scene)
        found = everybody(scene).values()
        keys.append({action.key for actions in found for action in actions})  # type: ignore[misc,union-attr]  # sends
        assert keys[-1]
    assert not keys[0] & keys[1]


def test_later_candidate_seals_with_its_turn() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    scene.now = NOW + scene.terms.windows.check // 2
    task, candidates = next(iter(check_candidates(scene).items()))
    scene.provider = candidates[2].provider
    opening = scene.keep(Stage.CHECK, task)
    sends = [a for a in decide(scene.look(), LIMITS) if isinstance(a, Send)]
    assert [s.args for s in sends] == [(JOB, 0, task, 2, opening.hash)]


def test_second_draw_asks_other_verifiers_for_what_is_left() -> None:
    first, second = scene_in(Phase.CHECK), scene_in(Phase.RECHECK)
    done, left = bits(drawn_bitmap(first))
    for scene in (first, second):
        scene.round_fields["drawn"] = drawn_bitmap(scene)
    second.seal(Stage.CHECK, done, provider=address(1998))
    asked = [a for actions in everybody(second).values() for a in actions]
    assert asked == [Answer(JOB, 0, Stage.CHECK, left, 0)]
    assert check_holders(first)[left].provider != check_holders(second)[left].provider


def test_nobody_checks_its_own_work() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    task, before = next(iter(check_holders(scene).items()))
    scene.seal(Stage.WORK, task, provider=before.provider)
    scene.provider = before.provider
    assert check_holders(scene)[task].provider != before.provider
    assert Answer(JOB, 0, Stage.CHECK, task, 0) not in decide(scene.look(), LIMITS)


def test_check_waits_until_the_seal_it_is_about_was_read() -> None:
    """Seen a block late, a drawn task has no known worker yet: nobody may check its own."""
    scene = Scene(phase=Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    assert all(actions == [] for actions in everybody(scene).values())


def test_duties_wait_until_the_whole_roster_was_read() -> None:
    scene = scene_in(Phase.CHECK, verifiers=len(VERIFIERS) + 1)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    assert all(actions == [] for actions in everybody(scene).values())


# --- gather ---


def test_each_gatherer_holds_at_its_own_seat_once() -> None:
    scene = scene_in(Phase.GATHER)
    js = scene.look().jobs[JOB]
    gatherers = seats.gatherer_seats(scene.terms, js.round.draw, js.roster)
    assert [seat.seat for seat in gatherers] == [0, 1, 2]
    for provider, actions in everybody(scene).items():
        mine = [seat.seat for seat in gatherers if seat.provider == provider]
        assert actions == [Hold(JOB, 0, seat) for seat in mine]
    for seat in gatherers:
        scene.record.gathered[seat.seat] = (seat.provider, 0)
    assert all(actions == [] for actions in everybody(scene).values())


# --- panels ---


def test_panel_seats_exclude_accuser_and_accused() -> None:
    scene = scene_in(Phase.VERDICT_SEAL, disputed=0b0001)
    scene.seal(Stage.WORK, 0, provider=PROVIDERS[0])
    scene.seal(Stage.CHECK, 0, provider=PROVIDERS[1])
    js = scene.look().jobs[JOB]
    panel = seats.panel_seats(scene.terms, js.round.panel_draw, 0, scene.record, js.roster)
    acting = everybody(scene)
    assert acting[PROVIDERS[0]] == []
    assert acting[PROVIDERS[1]] == []
    taken = [action for actions in acting.values() for action in actions]
    assert taken
    assert {a.seat for a in taken if isinstance(a, Answer)} == set(panel)


def test_panel_vote_is_opened_with_its_witness() -> None:
    scene = scene_in(Phase.VERDICT_OPEN)
    scene.provider = PROVIDERS[4]
    opening = scene.keep(Stage.PANEL, 2, 1)
    scene.seal(Stage.PANEL, 2, 1)
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert send.function == "openPanel"
    vote = (opening.root, opening.cid, opening.witness, opening.salt)
    assert send.args == (JOB, 0, 2, 1, *vote)


# --- the update ---


def test_update_is_checked_by_gatherers_that_posted_and_two_more() -> None:
    scene = scene_in(Phase.UPDATE_CHECK)
    scene.seal(Stage.UPDATE, UPDATE, provider=COORDINATOR)
    js = scene.look().jobs[JOB]
    gatherers = seats.gatherer_seats(scene.terms, js.round.draw, js.roster)
    for seat in gatherers[:2]:
        scene.record.gathered[seat.seat] = (seat.provider, 0)
    taken = [a for actions in everybody(scene).values() for a in actions]
    assert sorted(a.seat for a in taken if isinstance(a, Answer)) == [0, 1, 3, 4]
    assert {a.question for a in taken if isinstance(a, Answer)} == {UPDATE}
    drawn = {a.seat for p in gatherers for a in everybody(scene)[p.provider]}  # type: ignore[union-attr]  # answers
    assert drawn == {0, 1}


def test_coordinator_never_checks_or_judges_its_own_update() -> None:
    for phase in (Phase.UPDATE_CHECK, Phase.UPDATE_VERDICT_SEAL):
        scene = scene_in(phase)
        scene.seal(Stage.UPDATE, UPDATE, provider=PROVIDERS[0])
        assert everybody(scene)[PROVIDERS[0]] == []


def test_update_panel_excludes_its_sides_and_not_whoever_checked_it() -> None:
    scene = scene_in(Phase.UPDATE_VERDICT_SEAL)
    scene.seal(Stage.UPDATE, UPDATE, provider=COORDINATOR)
    scene.seal(Stage.UPDATE_CHECK, UPDATE, 0, PROVIDERS[2])
    scene.seal(Stage.UPDATE_CHALLENGE, UPDATE, 0, PROVIDERS[3])
    acting = everybody(scene)
    assert acting[PROVIDERS[3]] == []
    seats_taken = sorted(a.seat for acts in acting.values() for a in acts)  # type: ignore[union-attr]  # answers
    assert seats_taken == [0, 1, 2]
    unchecked = scene_in(Phase.UPDATE_VERDICT_SEAL)
    unchecked.seal(Stage.UPDATE, UPDATE, provider=COORDINATOR)
    unchecked.seal(Stage.UPDATE_CHALLENGE, UPDATE, 0, PROVIDERS[3])
    assert everybody(unchecked) == acting


@pytest.mark.parametrize(
    ("stage", "phase", "function"),
    [
        (Stage.CHECK, Phase.REVEAL, "open"),
        (Stage.UPDATE_CHECK, Phase.UPDATE_OPEN, "open"),
        (Stage.UPDATE_PANEL, Phase.UPDATE_VERDICT_OPEN, "openPanel"),
        (Stage.CHALLENGE, Phase.VERDICT_OPEN, "open"),
        (Stage.UPDATE_CHALLENGE, Phase.UPDATE_VERDICT_OPEN, "open"),
    ],
)
def test_each_seal_is_opened_in_its_own_phase_only(
    stage: Stage, phase: Phase, function: str
) -> None:
    question = UPDATE if stage >= Stage.UPDATE else 1
    for other in Phase:
        scene = Scene(phase=other, provider=PROVIDERS[5])
        scene.keep(stage, question)
        scene.seal(stage, question)
        opens = [
            a for a in decide(scene.look(), LIMITS) if isinstance(a, Send) and "open" in a.function
        ]
        assert [a.function for a in opens] == ([function] if other == phase else [])


# --- enrolling, limits ---


def test_newcomer_enrols_once() -> None:
    scene = Scene(phase=Phase.WAITING, provider=address(88))
    [send] = decide(scene.look(), Limits(slots=2))
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("enrol", (address(88), 2))
    scene.market.verifiers.enrol(99, address(88), 9)  # type: ignore[arg-type]  # a slot
    assert decide(scene.look(), LIMITS) == []


def test_retired_verifier_does_not_enrol_again() -> None:
    scene = Scene(phase=Phase.WAITING, provider=PROVIDERS[0])
    scene.market.verifiers.retire(VERIFIERS[0][0], 9)
    assert all(o != scene.provider for _, o in scene.look().market.verifiers.current)
    assert decide(scene.look(), LIMITS) == []


def test_bond_above_the_owners_limit_is_not_locked_but_seals_are_opened() -> None:
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    task, seat = next(iter(check_holders(scene).items()))
    scene.provider = seat.provider
    tight = Limits(largest_bond=scene.terms.bond - 1)
    [send] = [a for a in decide(scene.look(), tight) if a.args[3] == task]  # type: ignore[union-attr]  # passes
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("pass", (JOB, 0, int(Stage.CHECK), task, 0, 0))
    scene.phase = Phase.REVEAL
    scene.keep(Stage.CHECK, task)
    scene.seal(Stage.CHECK, task)
    assert decide(scene.look(), tight)


def test_job_that_was_not_vetted_is_passed_on_and_gives_no_duties() -> None:
    for phase in Phase:
        scene = scene_in(phase)
        scene.round_fields["drawn"] = drawn_bitmap(scene)
        scene.seal(Stage.UPDATE, UPDATE, provider=COORDINATOR)
        scene.fit = False
        asked = [a for actions in everybody(scene).values() for a in actions]
        assert all(isinstance(a, Send) and a.function == "pass" for a in asked)
        assert bool(asked) == (phase in (Phase.CHECK, Phase.RECHECK, Phase.UPDATE_CHECK))


def test_job_whose_manifest_nobody_has_asked_for_yet_is_not_passed_on() -> None:
    """A role that was started again knows nothing of its jobs for a block."""
    scene = scene_in(Phase.CHECK)
    scene.round_fields["drawn"] = drawn_bitmap(scene)
    scene.fit = None
    assert not any(everybody(scene).values())
    scene.leaving = True
    assert any(everybody(scene).values())


# --- in a late coordinator's place ---


def succession() -> tuple[Scene, list[seats.Seat]]:
    """A coordinator was late; gatherers 0 and 2 had posted."""
    scene = scene_in(Phase.SUCCESSION)
    js = scene.look().jobs[JOB]
    gatherers = seats.gatherer_seats(scene.terms, js.round.draw, js.roster)
    posted = [gatherers[0], gatherers[2]]
    for seat in posted:
        scene.record.gathered[seat.seat] = (seat.provider, 0)
    return scene, posted


def test_gatherers_that_posted_follow_in_turn() -> None:
    scene, posted = succession()
    half = scene.terms.windows.update // 2
    for now, able in ((NOW, posted[:1]), (NOW + half - 1, posted[:1]), (NOW + half, posted)):
        scene.now = now
        proposals = {p: a for p, a in everybody(scene).items() if a}
        assert proposals == {
            s.provider: [Answer(JOB, 0, Stage.UPDATE, UPDATE, 1 + s.seat)] for s in able
        }


def test_successor_seals_at_its_own_seat_and_never_checks_itself() -> None:
    scene, [first, second] = succession()
    scene.provider = first.provider
    opening = scene.keep(Stage.UPDATE, UPDATE, 1 + first.seat)
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("sealSuccession", (JOB, 0, first.seat, opening.hash))
    scene.seal(Stage.UPDATE, UPDATE, 1 + first.seat)
    assert all(actions == [] for actions in everybody(scene).values())
    scene.phase = Phase.UPDATE_CHECK
    acting = everybody(scene)
    assert acting[first.provider] == []
    assert acting[second.provider] == [Answer(JOB, 0, Stage.UPDATE_CHECK, UPDATE, second.seat)]


def test_post_is_not_taken_beyond_the_owners_limit() -> None:
    scene, _ = succession()
    tight = Limits(largest_bond=scene.terms.coordinator_bond - 1)
    for provider in PROVIDERS:
        scene.provider = provider
        assert decide(scene.look(), tight) == []


def test_round_that_its_coordinator_leaves_standing_is_moved_on() -> None:
    scene = Scene(phase=Phase.WAITING, provider=PROVIDERS[0], advance_due=True)
    [send] = decide(scene.look(), LIMITS)
    assert isinstance(send, Send)
    assert (send.function, send.args) == ("advance", (JOB,))
