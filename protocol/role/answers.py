"""Answering a question: have it computed, keep what was published, make the opening.

A task and an update are answered the same way by whoever is asked: worker, verifier, panel,
coordinator. An answer is a pure function of public inputs, so it is kept and used again when the
same question comes back in another stage.
"""

from protocol.fleet.bell import Bell
from protocol.fleet.computation import Computation, Included, Work
from protocol.fleet.leases import Answered, Leases
from protocol.role.openings import Opening, make_opening, new_salt
from protocol.role.pins import Pins
from protocol.rules.history import JobHistory, MarketHistory, RoundHistory
from protocol.rules.records import Address, Ending, JobId, Outcome, Stage, bits
from protocol.rules.sealing import SealContext
from protocol.storage.cid import Cid


class Answerer:
    """Asks consumers on behalf of one provider."""

    def __init__(
        self,
        leases: Leases,
        bell: Bell,
        pins: Pins,
        chain_id: int,
        market: Address,
        provider: Address,
    ) -> None:
        self.leases = leases
        self.bell = bell
        self.pins = pins
        self.chain_id = chain_id
        self.market = market
        self.provider = provider
        self._awaited: set[str] = set()

    @property
    def place(self) -> str:
        """The market's name among all markets."""
        return market_name(self.chain_id, self.market)

    def find(
        self, past: JobHistory, record: RoundHistory, question: int, included: int, deadline: int
    ) -> Answered | None:
        """What a question's answer is; None while it is computed, which this sees to.

        `included` is the bitmap of tasks in the update; it matters for the update's question only.
        Raises ComputationFailed, DatabaseUnavailable.
        """
        wanted = describe(self.place, past, record, question, included)
        found = self.leases.answer(wanted.key)
        if found is None:
            self._awaited.add(wanted.key)
            if self.leases.ask(wanted, deadline):
                self.bell.ring()
            return None
        self._awaited.discard(wanted.key)
        self._hold(past.job, record.number, found.cids)
        return found

    def open(
        self, past: JobHistory, number: int, stage: Stage, question: int, seat: int, found: Answered
    ) -> Opening:
        """The opening of one seat with this answer."""
        context = SealContext(
            self.chain_id, self.market, past.job, number, question, stage, self.provider
        )
        done = found.computed
        return make_opening(context, seat, done.root, done.cid, done.witness, new_salt())

    def has_news(self) -> bool:
        """Tell whether something that was awaited is there."""
        if not self._awaited or not self.leases.any_answered(sorted(self._awaited)):
            return False
        # The next tick asks again for what is still wanted.
        self._awaited.clear()
        return True

    def tidy(self, market: MarketHistory, block: int) -> None:
        """Forget what nobody needs any more: windows that closed, rounds and jobs that are over."""
        # INVARIANT: what was published is in the ledger of pins before it is forgotten here.
        late = self.leases.late(self.place, block)
        for one in late:
            self._hold(one.job, one.round, one.cids)
        self.leases.expire(late)
        for (place, job), oldest in self.leases.jobs().items():
            past = market.jobs.get(job)
            if place != self.place or past is None or oldest >= _first(past):
                continue
            for cids in self.leases.noted(place, job, _first(past)):
                self._hold(job, _first(past) - 1, cids)
            self.leases.drop(place, job, _first(past))

    def _hold(self, job: JobId, number: int, cids: tuple[str, ...]) -> None:
        """Note that a round of this number, or an earlier one, has brought these files."""
        if cids:
            bundle, *shards = (Cid.parse(cid) for cid in cids)
            self.pins.hold(job, bundle, shards, round_=number)


def market_name(chain_id: int, market: Address) -> str:
    """A market's name among all markets."""
    return f"{chain_id}/{market}"


def describe(
    place: str, past: JobHistory, record: RoundHistory, question: int, included: int
) -> Computation:
    """A question as a consumer needs it."""
    terms = past.terms
    chosen = []
    for task in bits(included) if question == terms.update_question else ():
        outcome = revealed(record, task)
        assert outcome is not None, "only revealed tasks are included"
        chosen.append(Included(task, outcome.root, outcome.cid))
    return Computation(
        market=place,
        job=past.job,
        terms=Work(
            terms.manifest, terms.genesis_root, terms.genesis_cid, terms.rounds, terms.tasks
        ),
        round=record.number,
        question=question,
        state_root=record.state_root,
        state_cid=record.state_cid,
        included=tuple(chosen),
    )


def revealed(record: RoundHistory, task: int) -> Outcome | None:
    """The outcome that a task's worker has opened."""
    work = record.seal(Stage.WORK, task)
    return None if work is None else work.outcome


def _first(past: JobHistory) -> int:
    """The oldest round that may still need an answer."""
    record = past.open_round
    if record is None or past.ending != Ending.NONE:
        return past.forgotten + len(past.rounds)
    return record.number
