"""Playing rounds against the real contracts with raw seals: any 32 bytes are an outcome.

Anvil mines a block per transaction and lets anybody send as anybody, so a test reads like the
attack: who does what. Nothing is computed; what is true is what the panel says.
"""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Any

from eth_utils.address import to_checksum_address
from web3.types import RPCEndpoint

from protocol.chain.client import Chain
from protocol.chain.views import stored, where_it_stands
from protocol.role.openings import Opening, make_opening
from protocol.rules.economics import required_escrow
from protocol.rules.records import (
    ZERO32,
    Address,
    JobId,
    Outcome,
    Phase,
    RoundView,
    Stage,
    Terms,
    bits,
)
from protocol.rules.sealing import NONFINITE_ROOT, SealContext, seal, witness_hash
from tests.support.rounds import digest, make_terms

BOND = 100 * 10**18
GAS = hex(12_000_000)
TRUE, LIE, OTHER, DIVERGED = range(4)


def person(number: int) -> Address:
    """An address that anvil lets us use."""
    return Address(to_checksum_address(f"0x{number:040x}"))


def operator_of(owner: str) -> Address:
    """The hot key of an owner."""
    return person(int(owner, 16) + (1 << 32))


FAUCET = Address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266")
ANYBODY, REQUESTER, COORDINATOR = person(0xA1), person(0xA2), person(0xA3)
WORKERS = [person(0x1000 + i) for i in range(4)]
VERIFIERS = [person(0x2000 + i) for i in range(14)]


class Play:
    """One market, its people, and the job that is played."""

    def __init__(
        self,
        chain: Chain,
        workers: Sequence[Address] = WORKERS,
        verifiers: Sequence[Address] = VERIFIERS,
    ) -> None:
        self.chain = chain
        self.workers, self.verifiers = workers, verifiers
        self.market, self.vault, self.token = chain.market, chain.vault, chain.token
        self.job = JobId(0)
        self.terms = make_terms()
        self.openings: dict[tuple[Stage, int, int], Opening] = {}

    # --- the chain ---

    def rpc(self, method: str, *params: Any) -> Any:
        """One raw request."""
        answer = self.chain.web3.provider.make_request(RPCEndpoint(method), list(params))
        assert "error" not in answer, answer
        return answer["result"]

    def send(self, who: str, contract: Any, function: str, *args: Any) -> None:
        """Send as `who`; raises ContractRejected, with the contract's values, for what reverts."""
        self.chain.call(contract, function, *args, block="pending", **{"from": who})
        data = contract.get_function_by_name(function)(*args)._encode_transaction_data()
        sent = self.rpc(
            "eth_sendTransaction",
            {"from": who, "to": contract.address, "data": data, "gas": GAS},
        )
        for _ in range(500):  # a busy anvil mines a moment after it has answered
            receipt = self.rpc("eth_getTransactionReceipt", sent)
            if receipt is not None:
                break
            time.sleep(0.01)
        assert receipt is not None, function
        assert receipt["status"] == "0x1", function

    def act(self, owner: str, function: str, *args: Any) -> None:
        """Call the market with the hot key of `owner`."""
        self.send(operator_of(owner), self.market, function, *args)

    def mine(self, blocks: int) -> None:
        """Let time pass."""
        if blocks > 0:
            self.rpc("anvil_mine", hex(blocks))

    @property
    def round(self) -> RoundView:
        """The open round, as the next transaction would find it."""
        return where_it_stands(self.chain, self.job)[1]

    def free(self, owner: str) -> int:
        """Free bond."""
        return int(self.chain.call(self.vault, "freeOf", owner))

    def credit(self, owner: str) -> int:
        """What can be collected."""
        return int(self.chain.call(self.vault, "creditOf", owner))

    def wealth(self, owner: str) -> int:
        """Everything of an owner inside the vault."""
        locked = int(self.chain.call(self.vault, "lockedOf", owner))
        return self.free(owner) + locked + self.credit(owner)

    def assert_sound(self) -> None:
        """INVARIANT 1: the balance is the sum of the ledgers."""
        held = self.chain.call(self.token, "balanceOf", self.vault.address)
        assert held == sum(self.chain.call(self.vault, "totals"))

    # --- before a round ---

    def raise_curtain(self) -> None:
        """Money and bonds for everybody; all verifiers enrolled."""
        self.rpc("anvil_autoImpersonateAccount", True)
        for owner in (*self.workers, *self.verifiers, COORDINATOR):
            self.put_up(owner)
        for who in (REQUESTER, ANYBODY):
            self.rpc("anvil_setBalance", who, hex(10**20))
            self.send(FAUCET, self.token, "transfer", who, 10**20)
            self.send(who, self.token, "approve", self.vault.address, 10**20)
        for owner in self.verifiers:
            self.act(owner, "enrol", owner, 1)
        self.mine(self.chain.call(self.market, "config")[0])

    def put_up(self, owner: str, limit: int = BOND) -> None:
        """Gas, a bond, an operator."""
        for who in (owner, operator_of(owner)):
            self.rpc("anvil_setBalance", who, hex(10**20))
        self.send(FAUCET, self.token, "transfer", owner, BOND)
        self.send(owner, self.token, "approve", self.vault.address, BOND)
        self.send(owner, self.vault, "deposit", BOND)
        self.send(owner, self.vault, "authorise", operator_of(owner), limit)

    def post(self, **changes: Any) -> None:
        """Post a job; from now on it is the one that is played."""
        changes = {"min_workers": len(self.workers), "checks": 2, **changes}
        self.terms = make_terms(coordinator=operator_of(COORDINATOR), **changes)
        escrow = required_escrow(self.terms)
        self.send(REQUESTER, self.market, "post", _fields(self.terms), escrow)
        self.job = JobId(self.chain.call(self.market, "jobs"))
        self.openings.clear()

    def open_round(self, **changes: Any) -> None:
        """Post, accept, join; ends in Commit of round 0."""
        self.post(**changes)
        self.act(COORDINATOR, "accept", self.job, COORDINATOR)
        for owner in self.workers:
            self.act(owner, "join", self.job, owner, 1)
        self.to(Phase.COMMIT)

    def to(self, wanted: Phase) -> None:
        """Let time pass, moving the job on, until the wanted phase."""
        for _ in range(40):
            round_ = self.round
            if round_.phase == wanted:
                if stored(self.chain, self.job)[1].phase != wanted:
                    self.send(ANYBODY, self.market, "advance", self.job)
                return
            target = round_.beacon_block + 1 if round_.beacon_block else round_.deadline
            self.mine(target - int(self.chain.head()) - 1)
            self.prove(round_.beacon_block)
            self.send(ANYBODY, self.market, "advance", self.job)
        raise AssertionError(f"{wanted.name} never came, it is {self.round.phase.name}")

    def prove(self, target: int) -> None:
        """Show the beacon a block's header, where it wants to see it; 0 is no block."""
        if target and self.chain.awaits_proof(target):
            header = self.chain.encoded_header(target)
            self.send(ANYBODY, self.chain.beacon, "prove", target, header)

    # --- seals ---

    def holder(self, stage: Stage, question: int, seat: int = 0) -> Address:
        """Whose turn it is."""
        if stage == Stage.WORK:
            return Address(self.chain.call(self.market, "slotOfTask", self.job, question)[1])
        if stage == Stage.UPDATE:
            return COORDINATOR
        args = (self.job, stage, question, seat, 0)
        return Address(self.chain.call(self.market, "holderOf", *args)[1])

    def prepare(
        self, stage: Stage, question: int, variant: int = TRUE, *, by: str = "", seat: int = 0
    ) -> Opening:
        """The opening of a seat, kept; `by` defaults to whoever holds it."""
        provider = Address(by) if by else self.holder(stage, question, seat)
        context = SealContext(
            self.chain.deployment.chain_id,
            self.market.address,  # type: ignore[arg-type]  # checksummed
            self.job,
            self.round.number,
            question,
            stage,
            provider,
        )
        root, cid, witness = (digest(p, question, variant) for p in ("root", "cid", "witness"))
        if variant == DIVERGED:
            root, cid = NONFINITE_ROOT, ZERO32
        opening = make_opening(context, seat, root, cid, witness, digest("salt", provider))
        self.openings[stage, question, seat] = opening
        return opening

    def seal(
        self, stage: Stage, question: int, variant: int = TRUE, *, by: str = "", seat: int = 0
    ) -> None:
        """Seal an answer."""
        provider = by or self.holder(stage, question, seat)
        opening = self.prepare(stage, question, variant, by=provider, seat=seat)
        self.send_seal(stage, question, opening.hash, by=provider, seat=seat)

    def send_seal(
        self, stage: Stage, question: int, sealed: bytes, *, by: str, seat: int = 0
    ) -> None:
        """Send any 32 bytes as a seal."""
        where = (self.job, self.round.number)
        match stage:
            case Stage.WORK:
                slot = self.slot_of(by)
                self.act(by, "sealTasks", *where, slot, [(question, sealed)])
            case Stage.CHECK:
                self.act(by, "sealCheck", *where, question, 0, sealed)
            case Stage.UPDATE:
                self.act(by, "sealUpdate", *where, sealed)
            case Stage.UPDATE_CHECK:
                self.act(by, "sealUpdateCheck", *where, seat, 0, sealed)
            case Stage.PANEL | Stage.UPDATE_PANEL:
                self.act(by, "sealPanel", *where, question, seat, sealed)
            case Stage.CHALLENGE | Stage.UPDATE_CHALLENGE:
                self.act(by, "challenge", *where, question, by, sealed)

    def slot_of(self, owner: str) -> int:
        """A worker's slot in this job."""
        slots, owners = self.chain.call(self.market, "workerRoster", self.job)
        return int(slots[owners.index(owner)])

    def open(self, stage: Stage, question: int, *, seat: int = 0) -> None:
        """Open a kept seal, as a stranger would."""
        opening = self.openings[stage, question, seat]
        self.open_as(opening)

    def open_as(self, opening: Opening, **changes: Any) -> None:
        """Open with what an opening says, but for `changes`."""
        opening = dataclasses.replace(opening, **changes)
        where = (opening.job, opening.round)
        if opening.stage in (Stage.PANEL, Stage.UPDATE_PANEL):
            vote = (opening.root, opening.cid, opening.witness, opening.salt)
            args: tuple[Any, ...] = (*where, opening.question, opening.seat, *vote)
            self.send(ANYBODY, self.market, "openPanel", *args)
        else:
            self.send(ANYBODY, self.market, "open", *where, [opening.shown])

    # --- whole stretches ---

    def seal_work(self, lies: Iterable[int] = (), but: Iterable[int] = ()) -> None:
        """Every task but `but` is sealed, those in `lies` wrongly; ends in Check."""
        for task in range(self.terms.tasks):
            if task not in but:
                self.seal(Stage.WORK, task, LIE if task in lies else TRUE)
        self.to(Phase.CHECK)

    def check(self, lies: Iterable[int] = ()) -> None:
        """Every drawn task is checked; ends in Reveal."""
        for task in bits(self.round.drawn):
            self.seal(Stage.CHECK, task, LIE if task in lies else TRUE)
        self.to(Phase.REVEAL)

    def reveal(self, but: Iterable[int] = ()) -> None:
        """Everything but the work on `but` is opened; ends in Gather."""
        for stage, task, seat in list(self.openings):
            if stage == Stage.CHECK or (stage == Stage.WORK and task not in but):
                self.open(stage, task, seat=seat)
        self.to(Phase.GATHER)

    def gather(self, held: int = 2**256 - 1) -> None:
        """All gatherers post the same bitmap."""
        for seat in range(self.terms.gatherers):
            provider = self.holder(Stage.UPDATE_CHECK, self.terms.tasks, seat)
            self.act(provider, "gather", self.job, self.round.number, seat, held)

    def verdict(self, task: int, votes: Iterable[int] = (TRUE, TRUE, TRUE)) -> None:
        """The panel on a task seals and opens `votes`; from Gather on."""
        self.to(Phase.VERDICT_SEAL)
        for seat, variant in enumerate(votes):
            self.seal(Stage.PANEL, task, variant, seat=seat)
        self.to(Phase.VERDICT_OPEN)
        for seat, _ in enumerate(votes):
            self.open(Stage.PANEL, task, seat=seat)

    def update(self, variant: int = TRUE) -> None:
        """Proposed, checked and opened; ends when the next round, or the end, begins."""
        question = self.terms.tasks
        self.to(Phase.UPDATE)
        self.seal(Stage.UPDATE, question, variant)
        self.to(Phase.UPDATE_CHECK)
        seats = range(self.terms.gatherers + 2)
        for seat in seats:
            self.seal(Stage.UPDATE_CHECK, question, variant, seat=seat)
        self.to(Phase.UPDATE_OPEN)
        self.open(Stage.UPDATE, question)
        for seat in seats:
            self.open(Stage.UPDATE_CHECK, question, seat=seat)

    def finish_without_update(self) -> None:
        """Nobody proposes; the round ends by time alone, in Seed of the next or in Ended."""
        number = self.round.number
        for _ in range(40):
            round_ = self.round
            if round_.number != number or round_.phase == Phase.ENDED:
                self.send(ANYBODY, self.market, "advance", self.job)
                return
            target = round_.beacon_block + 1 if round_.beacon_block else round_.deadline
            self.mine(target - int(self.chain.head()))
            self.prove(round_.beacon_block)
            self.send(ANYBODY, self.market, "advance", self.job)
        raise AssertionError("the round does not end")

    def outcome(self, question: int, variant: int = TRUE) -> Outcome:
        """What an answer shows."""
        root, cid, witness = (digest(p, question, variant) for p in ("root", "cid", "witness"))
        return Outcome(root, cid, witness_hash(self.job, self.round.number, question, witness))


def raw_seal(context: SealContext, outcome: Outcome, salt: bytes = ZERO32) -> bytes:
    """The hash over an outcome, where only the outcome is known."""
    return seal(context, outcome.root, outcome.cid, outcome.h, salt)


def _fields(terms: Terms) -> tuple[Any, ...]:
    values = [getattr(terms, f.name) for f in dataclasses.fields(terms) if f.name != "windows"]
    return (*values, dataclasses.astuple(terms.windows))
