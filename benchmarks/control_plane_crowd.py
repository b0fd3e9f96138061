"""All workers and verifiers of a market in one process, each deciding by its role's own function.

They share one history, read by the indexer and the observer of the roles, and nobody computes:
the answer to a question is a hash of it, so that everybody honest agrees. Every operator is a
worker and a verifier with one key. Those are asked who have something to do, which the rules tell;
what asking costs any one of them is timed on a few, with the whole market in their sight.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from benchmarks.control_plane_market import COORDINATOR, Market, operator_of
from protocol.chain.indexer import Indexer
from protocol.database.opening import open_database
from protocol.fleet.computation import Computed
from protocol.role.actions import Action, Answer, Hold, Send
from protocol.role.openings import Key, Opening, OpeningStore, make_opening
from protocol.role.service import REMEMBERED
from protocol.role.sight import JobSight, Observer, Sight
from protocol.rules import seats
from protocol.rules.records import Address, JobId, Phase, Stage
from protocol.rules.sealing import SealContext
from verifier import draw
from worker import claim
from worker.capacity import Room
from worker.pace import Pace

SAMPLE = 3
"""Operators whose deciding is timed."""
Decide = Callable[[Sight], Sequence[Action]]


def stub_answer(job: JobId, round_: int, question: int) -> Computed:
    """What everybody who is honest finds."""
    root, cid, witness = (
        sha256(repr((part, job, round_, question)).encode()).digest()
        for part in ("root", "cid", "witness")
    )
    return Computed(root, cid, witness)


class Crowd:
    """The operators of one market; `teams` are those who work on each job."""

    def __init__(
        self,
        market: Market,
        folder: Path,
        operators: Sequence[Address],
        slots: int,
        teams: dict[JobId, list[Address]],
    ) -> None:
        self.market = market
        self.operators = operators
        self.teams = teams
        chain = market.chain
        self.observer = Observer(
            chain,
            Indexer(chain, open_database(folder / "crowd.sqlite"), remember=REMEMBERED),
            OpeningStore(folder / "openings"),
            Address(operators[0]),
            operator_of(operators[0]),
            lambda _past: True,
        )
        self.openings: dict[Address, dict[Key, Opening]] = defaultdict(dict)
        self.sent: set[tuple[Address, str]] = set()
        self.seconds = {"worker decides": 0.0, "verifier decides": 0.0}
        limits, verifying = claim.Limits(), draw.Limits(slots=slots)
        # Who checks a job of another team opens its checks, and does not join.
        rooms: dict[Address, dict[JobId, Room]] = {one: {} for one in operators}
        for job, team in teams.items():
            for one in team:
                rooms[one][job] = Room(1)
        self.work: Decide = lambda sight: claim.decide(sight, limits, rooms[sight.provider], Pace())
        self.verify: Decide = lambda sight: draw.decide(sight, verifying)

    def enrol(self) -> None:
        """Everybody takes verifier slots."""
        sight = self.observer.observe()
        for provider in self.operators:
            self._take_turn(provider, self.verify, replace(sight, jobs={}))

    def observe(self) -> Sight:
        """The market as every operator sees it; the coordinator moves rounds on."""
        sight = self.observer.observe()
        jobs = {job: replace(js, advance_due=False, proof_due=0) for job, js in sight.jobs.items()}
        return replace(sight, jobs=jobs)

    def act(self, sight: Sight) -> None:
        """Everybody who has something to do does it."""
        self._time_a_few(sight)
        for job, js in sight.jobs.items():
            for provider, decide in self._called(js):
                self._take_turn(provider, decide, replace(sight, jobs={job: js}))

    def _called(self, js: JobSight) -> Iterator[tuple[Address, Decide]]:
        """Whom the rules give something to do now."""
        record, terms, phase = js.open_round, js.past.terms, js.round.phase
        if not js.past.rounds:
            for provider in self.teams[js.past.job]:
                yield provider, self.work
            return
        if record is None or phase != record.phase:
            return
        match phase:
            case Phase.COMMIT:
                owners = seats.task_owners(js.round.seed, terms.tasks, record.workers)
                for provider in dict.fromkeys(provider for _, provider in owners):
                    yield provider, self.work
            case Phase.CHECK:
                found = seats.check_seats(
                    terms, js.round.draw, js.round.drawn & ~js.round.answered, record, js.roster
                )
                yield from self._first(found)
            case Phase.REVEAL | Phase.UPDATE_OPEN:
                unopened = (s.provider for s in record.seals.values() if s.outcome is None)
                for provider in dict.fromkeys(unopened):
                    if provider != COORDINATOR:
                        yield provider, self.work
            case Phase.GATHER:
                for seat in seats.gatherer_seats(terms, js.round.draw, js.roster):
                    if seat.seat not in record.gathered:
                        yield seat.provider, self.verify
            case Phase.UPDATE_CHECK:
                round_ = js.round
                yield from self._first(
                    seats.update_check_seats(
                        terms, round_.draw, round_.update_draw, record, js.roster
                    )
                )

    def _first(self, found: dict[int, list[seats.Seat]]) -> Iterator[tuple[Address, Decide]]:
        """The first candidates of drawn seats."""
        for provider in dict.fromkeys(candidates[0].provider for candidates in found.values()):
            yield provider, self.verify

    def _take_turn(self, provider: Address, decide: Decide, sight: Sight) -> None:
        """As the loop of a role does it: decide and act until nothing more can be done."""
        kept = self.openings[provider]
        mine = replace(sight, provider=provider, operator=operator_of(provider), openings=kept)
        done: set[Action] = set()
        while fresh := [action for action in decide(mine) if action not in done]:
            for action in fresh:
                done.add(action)
                match action:
                    case Answer():
                        kept[action.key] = self._open(provider, action)
                    case Hold():
                        self._hold(provider, sight.jobs[action.job], action)
                    case Send():
                        self._send(provider, action)

    def _open(self, provider: Address, action: Answer) -> Opening:
        found = stub_answer(action.job, action.round, action.question)
        place = self.market.deployment
        context = SealContext(
            place.chain_id,
            place.market,
            action.job,
            action.round,
            action.question,
            action.stage,
            provider,
        )
        salt = sha256(repr((provider, action)).encode()).digest()
        return make_opening(context, action.seat, found.root, found.cid, found.witness, salt)

    def _hold(self, provider: Address, js: JobSight, action: Hold) -> None:
        record = js.open_round
        assert record is not None
        bitmap = sum(
            1 << task
            for task in range(js.past.terms.tasks)
            if (work := record.seal(Stage.WORK, task)) is not None and work.outcome is not None
        )
        args = (action.job, action.round, action.seat, bitmap)
        self._send(provider, Send(f"{action}", "gather", args))

    def _send(self, provider: Address, action: Send) -> None:
        if (provider, action.key) not in self.sent:
            self.sent.add((provider, action.key))
            self.market.act(provider, action.function, *action.args)

    def _time_a_few(self, sight: Sight) -> None:
        """What one look at the whole market costs one operator, in seconds of processor."""
        few = self.operators[:: max(len(self.operators) // SAMPLE, 1)][:SAMPLE]
        for name, decide in (("worker decides", self.work), ("verifier decides", self.verify)):
            began = time.thread_time()
            for one in few:
                kept = self.openings[one]
                decide(replace(sight, provider=one, operator=operator_of(one), openings=kept))
            self.seconds[name] += (time.thread_time() - began) / len(few)

    def forget(self, job: JobId, before: int) -> None:
        """Let go of what nobody needs any more, as far as this process is concerned."""
        for kept in self.openings.values():
            for key in [key for key in kept if key[0] == job and key[1] < before]:
                del kept[key]
