"""A market on a real chain and everybody at it, each doing what the dice say.

`Table.play_round` walks one round through the contract's public entry points: every actor that has
a duty seals the truth, something else, or nothing, and opens it or does not. What happened is then
on the chain, for the rules to judge again.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from web3 import Web3
from web3.contract import Contract

from protocol.chain.client import Chain
from protocol.chain.views import where_it_stands
from protocol.role.openings import Opening, make_opening
from protocol.rules import seats
from protocol.rules.history import JobHistory, MarketHistory, RoundHistory
from protocol.rules.records import (
    ZERO32,
    ZERO_ADDRESS,
    Address,
    JobId,
    Phase,
    RoundView,
    Stage,
    Terms,
    bits,
)
from protocol.rules.sealing import NONFINITE_ROOT, SealContext
from protocol.rules.turns import claims_from
from tests.support.rounds import FALSE, NONFINITE, NOTHING, OTHER, TRUE, UNOPENED, digest

ETHER = 10**18
Rpc = Callable[..., Any]
ANSWERS = (TRUE, FALSE, OTHER, NONFINITE, UNOPENED, NOTHING)


def actor(name: str) -> Address:
    """A made-up account; the chain sends for it without its key."""
    return Address(Web3.to_checksum_address(digest(name)[:20]))


class Table:
    """One job and its actors; `sync` gives the market's history."""

    def __init__(
        self, chain: Chain, rpc: Rpc, sync: Callable[[], MarketHistory], bank: Address, seed: int
    ) -> None:
        self.chain = chain
        self.rpc = rpc
        self.sync = sync
        self.dice = random.Random(seed)
        self.bank = bank
        self.workers = [actor(f"worker {n}") for n in range(3)]
        self.verifiers = [actor(f"verifier {n}") for n in range(11)]
        self.coordinator = actor("coordinator")
        self.job = JobId(0)
        self.openings: dict[tuple[int, Stage, int, int], Opening] = {}
        self.mood: Sequence[int] = (90, 2, 2, 2, 2, 2)
        rpc("anvil_autoImpersonateAccount", True)

    # --- setting the table ---

    def seat_everybody(self, slot_bond: int) -> None:
        """Bond every actor and enrol the verifiers for the next epoch."""
        stake = 1000 * ETHER
        for account in (*self.workers, *self.verifiers, self.coordinator):
            self.rpc("anvil_setBalance", account, hex(100 * ETHER))
            self.send(self.bank, "transfer", account, stake, to=self.chain.token)
            vault = self.chain.deployment.vault
            self.send(account, "approve", vault, stake, to=self.chain.token)
            self.send(account, "deposit", stake, to=self.chain.vault)
            self.send(account, "authorise", account, stake, to=self.chain.vault)
        assert stake > slot_bond
        for verifier in self.verifiers:
            self.send(verifier, "enrol", verifier, 1)

    def post(self, terms: Terms, escrow: int) -> None:
        """Post the job and fill its posts."""
        windows = tuple(getattr(terms.windows, name) for name in terms.windows.__slots__)
        raw = tuple(getattr(terms, name) for name in terms.__slots__ if name != "windows")
        self.send(self.bank, "approve", self.chain.deployment.vault, escrow, to=self.chain.token)
        self.send(self.bank, "post", (*raw, windows), escrow)
        self.job = JobId(self.chain.call(self.chain.market, "jobs"))

    def fill_posts(self) -> None:
        """Whoever lost a slot or the post takes it again, so that the game goes on."""
        past = self.past()
        for worker in self.workers:
            # The first to join an empty roster may open the round, and so freeze it.
            frozen = self.now().phase in (Phase.SEED, Phase.COMMIT, Phase.DRAW)
            if not frozen and worker not in [provider for _, provider in past.roster]:
                self.send(worker, "join", self.job, worker, 1)
        if past.coordinator_provider == ZERO_ADDRESS:
            self.send(self.coordinator, "accept", self.job, self.coordinator)

    # --- looking ---

    def past(self) -> JobHistory:
        """The job's history, up to the newest block."""
        return self.sync().jobs[self.job]

    def now(self) -> RoundView:
        """Where the round stands for the next transaction."""
        return where_it_stands(self.chain, self.job)[1]

    def roster(self) -> seats.Roster:
        """Verifiers of the open round."""
        return self.sync().verifiers.at(self.now().epoch)

    def record(self) -> RoundHistory:
        """The newest round."""
        return self.past().rounds[-1]

    # --- acting ---

    def send(self, account: Address, function: str, *args: Any, to: Contract | None = None) -> None:
        """One transaction, which must succeed."""
        contract = self.chain.market if to is None else to
        bound = contract.get_function_by_name(function)(*args)
        sent = bound.transact({"from": account, "gas": 8_000_000})
        receipt = self.chain.web3.eth.wait_for_transaction_receipt(sent, 10, 0.01)
        if receipt["status"] != 1:
            self.chain.call(contract, function, *args, **{"from": account})
            raise AssertionError(f"{function}{args} failed, and does not when asked again")

    def roll(self) -> int:
        """An answer, by the mood of the round: weights of ANSWERS."""
        return self.dice.choices(ANSWERS, self.mood)[0]

    def seal(
        self, who: Address, stage: Stage, question: int, seat: int, answer: int, *call: Any
    ) -> None:
        """Seal an answer: `call` is the function and its arguments up to the hash."""
        if answer == NOTHING:
            return
        number = self.now().number
        shown = TRUE if answer == UNOPENED else answer
        root = NONFINITE_ROOT if shown == NONFINITE else digest("root", question, shown)
        cid = ZERO32 if shown == NONFINITE else digest("cid", question, shown)
        where = self.chain.deployment
        context = SealContext(where.chain_id, where.market, self.job, number, question, stage, who)
        salt = digest("salt", stage, seat)
        opening = make_opening(context, seat, root, cid, digest("witness", shown), salt)
        function, *args = call
        sealed = [(question, opening.hash)] if stage == Stage.WORK else opening.hash
        self.send(who, function, self.job, number, *args, sealed)
        if answer != UNOPENED:
            self.openings[number, stage, question, seat] = opening

    def open_all(self, *stages: Stage) -> None:
        """Open what is meant to be opened; a bystander sends it."""
        view = self.now()
        released = view.drawn & ~view.answered
        for (number, stage, question, seat), o in sorted(self.openings.items()):
            if number != view.number or stage not in stages:
                continue
            if stage == Stage.WORK and released >> question & 1:
                continue
            where = (self.job, number)
            if stage in (Stage.PANEL, Stage.UPDATE_PANEL):
                vote = (o.root, o.cid, o.witness, o.salt)
                self.send(self.bank, "openPanel", *where, question, seat, *vote)
            else:
                self.send(self.bank, "open", *where, [o.shown])

    # --- a round ---

    def play_round(self, mood: Sequence[int]) -> tuple[Terms, RoundHistory]:
        """Play the next round to its end; returns what the chain remembers of it."""
        self.mood = mood
        number = self.now().number
        if self.now().phase == Phase.WAITING:
            self.fill_posts()
        for _ in range(200):
            view = self.now()
            if view.number > number:
                break
            phase = view.phase
            self._act(view)
            view = self.now()
            if view.number == number and view.phase == phase:
                here = self.chain.head()
                wait = max(view.deadline, view.beacon_block + 1) - here - 1
                self.rpc("anvil_mine", hex(max(wait, 1)))
            self.send(self.bank, "advance", self.job)
        self.send(self.bank, "advance", self.job)
        record = self.past().rounds[number]
        assert (record.number, record.finalised) == (number, True)
        return self.past().terms, record

    def _act(self, view: RoundView) -> None:
        acts = {
            Phase.COMMIT: self._commit,
            Phase.CHECK: self._check,
            Phase.RECHECK: self._check,
            Phase.REVEAL: lambda _: self.open_all(Stage.WORK, Stage.CHECK),
            Phase.GATHER: self._gather,
            Phase.VERDICT_SEAL: self._panels,
            Phase.VERDICT_OPEN: lambda _: self.open_all(Stage.PANEL, Stage.CHALLENGE),
            Phase.UPDATE: self._propose,
            Phase.SUCCESSION: self._succeed,
            Phase.UPDATE_CHECK: self._check_update,
            Phase.UPDATE_OPEN: lambda _: self.open_all(Stage.UPDATE, Stage.UPDATE_CHECK),
            Phase.UPDATE_CHALLENGE: self._challenge_update,
            Phase.UPDATE_VERDICT_SEAL: self._update_panel,
            Phase.UPDATE_VERDICT_OPEN: lambda _: self.open_all(
                Stage.UPDATE_PANEL, Stage.UPDATE_CHALLENGE
            ),
        }
        if view.phase in acts:
            self.send(self.bank, "advance", self.job)
            acts[view.phase](view)

    def _commit(self, view: RoundView) -> None:
        terms, record = self.past().terms, self.record()
        owners = seats.task_owners(view.seed, terms.tasks, record.workers)
        for task, (slot, provider) in enumerate(owners):
            self.seal(provider, Stage.WORK, task, 0, self.roll(), "sealTasks", slot)
        if self.now().phase == Phase.COMMIT:
            self._claim(record)

    def _claim(self, record: RoundHistory) -> None:
        """Slots take over what was left unserved, and serve it or not."""
        view = self.now()
        half = claims_from(self.past().terms, view.deadline)
        self.rpc("anvil_mine", hex(max(half - self.chain.head() - 1, 1)))
        unserved = [t for t in range(self.past().terms.tasks) if not view.sealed_tasks >> t & 1]
        for task, (slot, provider) in zip(unserved, record.workers, strict=False):
            if self.dice.random() < 0.7:
                self.send(provider, "claim", self.job, view.number, task, slot)
                self.seal(provider, Stage.WORK, task, 0, self.roll(), "sealTasks", slot)

    def _check(self, view: RoundView) -> None:
        terms, record = self.past().terms, self.record()
        redraw = view.redraw if view.phase == Phase.RECHECK else None
        left = view.drawn & ~view.answered
        held = seats.check_seats(terms, view.draw, left, record, self.roster(), redraw)
        self._compare(Stage.CHECK, [seat for found in held.values() for seat in found])
        for task, candidates in held.items():
            self._in_turn(view, Stage.CHECK, candidates, "sealCheck", task)

    def _in_turn(
        self, view: RoundView, stage: Stage, candidates: list[seats.Seat], *call: Any
    ) -> None:
        """Candidates answer, say nothing, or pass, so that the next one may answer at once."""
        for seat in candidates:
            place = (seat.question, seat.seat)
            answer = self.roll()
            if answer != NOTHING:
                self.seal(seat.provider, stage, *place, answer, *call, seat.turn)
                return
            gatherer = stage == Stage.UPDATE_CHECK and seat.seat < self.past().terms.gatherers
            if gatherer or self.dice.random() < 0.5:
                return
            where = (self.job, view.number, int(stage), *place, seat.turn)
            self.send(seat.provider, "pass", *where)

    def _gather(self, view: RoundView) -> None:
        self.fill_posts()
        terms = self.past().terms
        for seat in seats.gatherer_seats(terms, view.draw, self.roster()):
            if self.dice.random() < 0.85 or self.mood[0] == 100:
                choices = [0b1111, 0b1111, 0b0110, 0b0001, 0]
                held = 0b1111 if self.mood[0] == 100 else self.dice.choice(choices)
                where = (self.job, view.number, seat.seat)
                self.send(seat.provider, "gather", *where, held)
        for task in bits(view.opened_tasks & ~view.disputed):
            if self.dice.random() < (1 - self.mood[0] / 100) / 2:
                who = self.dice.choice(self.verifiers)
                answer = self.roll() or UNOPENED
                self.seal(who, Stage.CHALLENGE, task, 0, answer, "challenge", task, who)

    def _panels(self, view: RoundView) -> None:
        terms, record = self.past().terms, self.record()
        for task in bits(view.disputed):
            held = seats.panel_seats(terms, view.panel_draw, task, record, self.roster())
            self._compare(Stage.PANEL, held.values())
            for number, seat in held.items():
                answer = self.roll()
                self.seal(
                    seat.provider, Stage.PANEL, task, number, answer, "sealPanel", task, number
                )

    def _propose(self, _view: RoundView) -> None:
        question = self.past().terms.update_question
        self.seal(self.coordinator, Stage.UPDATE, question, 0, self.roll(), "sealUpdate")

    def _succeed(self, view: RoundView) -> None:
        """The coordinator was late: a gatherer follows it, or nobody does."""
        question = self.past().terms.update_question
        self.rpc("anvil_mine", hex(max(view.deadline - self.chain.head() - 3, 1)))
        for seat, (provider, _) in sorted(self.record().gathered.items()):
            answer = self.roll()
            if answer != NOTHING:
                self.seal(
                    provider, Stage.UPDATE, question, 1 + seat, answer, "sealSuccession", seat
                )
                return

    def _check_update(self, view: RoundView) -> None:
        terms, record = self.past().terms, self.record()
        draws = (view.draw, view.update_draw)
        held = seats.update_check_seats(terms, *draws, record, self.roster())
        self._compare(Stage.UPDATE_CHECK, [seat for found in held.values() for seat in found])
        for number, candidates in held.items():
            self._in_turn(view, Stage.UPDATE_CHECK, candidates, "sealUpdateCheck", number)

    def _challenge_update(self, _view: RoundView) -> None:
        if self.dice.random() < 1 - self.mood[0] / 100:
            question, who = self.past().terms.update_question, self.dice.choice(self.verifiers)
            answer = self.roll() or UNOPENED
            self.seal(who, Stage.UPDATE_CHALLENGE, question, 0, answer, "challenge", question, who)

    def _update_panel(self, view: RoundView) -> None:
        terms, record = self.past().terms, self.record()
        held = seats.update_panel_seats(terms, view.update_panel_draw, record, self.roster())
        question = terms.update_question
        self._compare(Stage.UPDATE_PANEL, held.values())
        for number, seat in held.items():
            answer = self.roll()
            self.seal(
                seat.provider,
                Stage.UPDATE_PANEL,
                question,
                number,
                answer,
                "sealPanel",
                question,
                number,
            )

    def _compare(self, stage: Stage, held: Iterable[seats.Seat]) -> None:
        """The contract seats the same providers, turn by turn."""
        for seat in held:
            place = (int(stage), seat.question, seat.seat, seat.turn)
            found = self.chain.call(self.chain.market, "holderOf", self.job, *place)
            assert tuple(found) == (seat.slot, seat.provider), place
