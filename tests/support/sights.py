"""Hand-made Sights: one job, one open round, in any phase, seen by any provider."""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from protocol.role.openings import Key, Opening, make_opening
from protocol.role.sight import JobSight, Sight
from protocol.rules.history import JobHistory, MarketHistory, RoundHistory, Seal
from protocol.rules.records import (
    Address,
    Ending,
    JobView,
    Phase,
    RoundView,
    Slot,
    Stage,
    Terms,
)
from protocol.rules.sealing import SealContext
from tests.support.rounds import JOB, address, digest, make_terms, new_round

CHAIN_ID = 31337
MARKET = address(123)
COORDINATOR = address(3000)
COORDINATOR_KEY = address(9000)
WORKERS = [(Slot(1), address(1001)), (Slot(2), address(1002))]
VERIFIERS = [(Slot(n), address(2000 + n)) for n in range(1, 13)]
OPERATOR = address(555)
EPOCH = 4
NOW = 100
"""The block in which the phase at hand began."""


def opening_of(
    provider: Address, stage: Stage, question: int, seat: int = 0, round_: int = 0, salt: int = 1
) -> Opening:
    """An answer bound to its seat."""
    context = SealContext(CHAIN_ID, MARKET, JOB, round_, question, stage, provider)
    root, cid = digest("root", question), digest("cid", question)
    return make_opening(context, seat, root, cid, digest("witness", question), digest("salt", salt))


@dataclass
class Scene:
    """A job with one open round; change what you like, then look at it."""

    terms: Terms = field(default_factory=lambda: make_terms(tasks=4, checks=2))
    phase: Phase = Phase.COMMIT
    now: int = NOW
    advance_due: bool = False
    proof_due: int = 0
    fit: bool | None = True
    leaving: bool = False
    provider: Address = WORKERS[0][1]
    operator: Address = OPERATOR
    openings: dict[Key, Opening] = field(default_factory=dict)
    round_fields: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False
    coordinator: Address = COORDINATOR
    record: RoundHistory = field(init=False)
    past: JobHistory = field(init=False)
    market: MarketHistory = field(init=False)

    def __post_init__(self) -> None:
        self.record = new_round(0, list(WORKERS), len(VERIFIERS))
        self.record.epoch = EPOCH
        self.past = JobHistory(
            job=JOB,
            requester=address(1),
            escrow=10**6,
            terms=self.terms,
            posted_at=1,
            state_root=self.terms.genesis_root,
            state_cid=self.terms.genesis_cid,
            coordinator_provider=self.coordinator,
            roster=list(WORKERS),
            members=Counter(provider for _, provider in WORKERS),
            rounds=[self.record],
        )
        self.market = MarketHistory(jobs={JOB: self.past})
        for slot, provider in VERIFIERS:
            self.market.verifiers.enrol(slot, provider, EPOCH)

    def keep(self, stage: Stage, question: int, seat: int = 0, provider: str = "") -> Opening:
        """Put an opening on this role's disk."""
        opening = opening_of(Address(provider or self.provider), stage, question, seat)
        self.openings[opening.key] = opening
        return opening

    def seal(
        self,
        stage: Stage,
        question: int,
        seat: int = 0,
        provider: str = "",
        *,
        opened: bool = False,
    ) -> Seal:
        """A seal that is on chain, with the hash that the provider's opening has."""
        by = Address(provider or self.provider)
        opening = opening_of(by, stage, question, seat)
        seal = Seal(
            stage=stage,
            question=question,
            seat=seat,
            provider=by,
            operator=by,
            hash=opening.hash,
            block=50,
            transaction="0x",
            outcome=opening.outcome if opened else None,
        )
        self.record.seals[stage, question, seat] = seal
        return seal

    def seal_all_tasks(self) -> None:
        """Every task is sealed by the worker that the tests call nobody."""
        for task in range(self.terms.tasks):
            self.seal(Stage.WORK, task, provider=address(1999))

    def between_rounds(self) -> None:
        """No round is open and none was."""
        self.past.rounds.clear()
        self.phase = Phase.WAITING

    def look(self) -> Sight:
        """The Sight."""
        round_ = dataclasses.replace(self._round(), **self.round_fields)
        self.record.phase = self.phase
        self.record.started[self.phase] = NOW
        job = JobView(
            requester=address(1),
            coordinator_provider=self.past.coordinator_provider,
            round=0,
            updates=0,
            failed_rounds=0,
            stopped=self.stopped,
            ending=Ending.NONE,
            state_root=self.past.state_root,
            state_cid=self.past.state_cid,
            worker_slots=len(self.past.roster),
        )
        jobs = {}
        if self.past.ending == Ending.NONE:
            jobs[JOB] = JobSight(
                past=self.past,
                job=job,
                round=round_,
                roster=self.market.verifiers.at(EPOCH),
                fit=self.fit,
                advance_due=self.advance_due,
                proof_due=self.proof_due,
            )
        return Sight(
            now=self.now,
            read=self.now - 1,
            provider=self.provider,
            operator=self.operator,
            market=self.market,
            jobs=jobs,
            openings=dict(self.openings),
            leaving=self.leaving,
        )

    def _round(self) -> RoundView:
        sealed = sum(1 << s.question for s in self.record.seals.values() if s.stage == Stage.WORK)
        answered = sum(
            1 << s.question for s in self.record.seals.values() if s.stage == Stage.CHECK
        )
        return RoundView(
            number=0,
            phase=self.phase,
            opened_at=40,
            deadline=NOW + self.terms.windows.check,
            beacon_block=0,
            epoch=EPOCH,
            workers=len(WORKERS),
            verifiers=len(VERIFIERS),
            seed=digest("seed"),
            draw=digest("draw"),
            redraw=digest("redraw"),
            panel_draw=digest("panel draw"),
            update_draw=digest("update draw"),
            update_panel_draw=digest("update panel draw"),
            claimed=sum(1 << task for task in self.record.claims),
            sealed_tasks=sealed,
            drawn=0,
            answered=answered,
            opened_tasks=0,
            opened_checks=0,
            disputed=0,
            challenged=0,
            included=0,
            gathered=0,
            update_answered=0,
            update_opened=0,
            proposed=False,
            proposer=0,
            proposal_opened=False,
            update_disputed=False,
            update_challenged=False,
            is_void=False,
        )


def sight_of(*pasts: JobHistory) -> Sight:
    """These jobs, each at the beginning of Commit, seen by somebody who has no part in them."""
    sight = Scene(provider=address(77)).look()
    jobs = {past.job: dataclasses.replace(sight.jobs[JOB], past=past) for past in pasts}
    return dataclasses.replace(sight, jobs=jobs)
