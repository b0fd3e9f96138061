"""The loop of every role: observe, decide, act, again at the next block, until it has left.

Nothing in memory matters: kill the process at any point and the next tick derives the same duties
from the chain and the openings on disk.
"""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import structlog
from eth_account.signers.local import LocalAccount

from protocol.chain.client import Call
from protocol.chain.errors import ChainError, ContractRejected
from protocol.chain.freshness import fresh_head
from protocol.chain.indexer import Indexer
from protocol.chain.tx_sender import TxSender
from protocol.database.errors import DatabaseUnavailable
from protocol.database.opening import fleet_database, role_database
from protocol.fleet.bell import Bell
from protocol.fleet.embedded import COMMAND, EmbeddedConsumer
from protocol.fleet.leases import Leases
from protocol.role.actions import Action, Answer, Hold, Prove, Send, most_urgent
from protocol.role.answers import Answerer, market_name
from protocol.role.connection import fee_policy, open_chain
from protocol.role.gathering import Gathering
from protocol.role.home import claim_home
from protocol.role.job_files import JobFiles
from protocol.role.keeping import Keeper
from protocol.role.leaving import Departure, Unfinished, unopened
from protocol.role.openings import OpeningStore
from protocol.role.outbox import Outbox
from protocol.role.pins import open_pins
from protocol.role.sight import Observer, Sight
from protocol.role.vetting import Vetting
from protocol.role.watch import Watch
from protocol.rules.errors import GradproofError
from protocol.rules.records import Address
from protocol.runtime.settings import Settings
from protocol.storage.cache import Cache
from protocol.storage.store import ContentStore

log = structlog.get_logger()
REMEMBERED = 2
"""Finished rounds of a job that a role has in mind, besides the open one."""
REPEAT_SECONDS = 30.0
"""How often trouble that lasts is logged again."""
Decide = Callable[[Sight], Sequence[Action]]


class RoleService:
    """One role on one machine: its key, its view of the chain, its store, its memory."""

    def __init__(
        self,
        settings: Settings,
        store: ContentStore,
        account: LocalAccount,
        provider: Address,
        home: Path,
        consumer: Sequence[str] = COMMAND,
        device: str | None = None,
    ) -> None:
        self.settings = settings
        self.chain = open_chain(settings)
        deployment = self.chain.deployment
        claim_home(home, market_name(deployment.chain_id, deployment.market))
        engine = role_database(settings, home)
        self.sender = TxSender(self.chain, account, engine, fee_policy(settings))
        self.openings = OpeningStore(home / "openings")
        cache = Cache(settings.cache_path, settings.cache_bytes, store.counters)
        self.files = JobFiles(store, cache)
        self.vetting = Vetting(self.files)
        pins = open_pins(settings)
        self.gathering = Gathering(self.files)
        self.keeper = Keeper(self.files, pins)
        self.leases = Leases(
            fleet_database(settings), settings.queue, seconds=settings.lease_seconds
        )
        self.answerer = Answerer(
            self.leases,
            Bell(settings),
            pins,
            deployment.chain_id,
            deployment.market,
            provider,
        )
        self.consumer = EmbeddedConsumer(settings, consumer, device or settings.device)
        indexer = Indexer(
            self.chain, engine, confirmations=settings.confirmations, remember=REMEMBERED
        )
        self.observer = Observer(
            self.chain,
            indexer,
            self.openings,
            provider,
            Address(account.address),
            self.vetting.is_fit,
        )
        self.watch = Watch(
            home.name,
            self.chain,
            self.sender,
            store.counters,
            provider,
            lambda: indexer.block,
            settings.apis,
            settings.metrics,
        )
        self.outbox = Outbox(self.sender, self.watch.acted)
        self.departure = Departure()
        self._leaving = self._stopping = False
        self._said: tuple[type[GradproofError] | None, float] = (None, 0.0)

    def run(
        self,
        decide: Decide,
        unfinished: Unfinished = unopened,
        *,
        after: Callable[[Sight], None] | None = None,
    ) -> None:
        """Loop until SIGTERM or SIGINT, and then until nothing is unfinished.

        A second signal ends it after the act at hand. `after` sees every sight once it has been
        acted on.
        """
        self.departure.unfinished = unfinished
        _on_signal(self._stop)
        with self.watch, self.consumer:
            self._loop(decide, after)
            _on_signal(signal.SIG_IGN)  # it ends by itself now, and should end well

    def _loop(self, decide: Decide, after: Callable[[Sight], None] | None) -> None:
        seen = (-1, False)
        while not self._stopping:
            try:
                self.consumer.tend()
                head = fresh_head(self.chain, self.settings.head_seconds)
                self.watch.heard(head)
                newest = (head, self._leaving)
                if newest != seen or self.answerer.has_news():
                    seen = newest
                    with self.watch.tick():
                        sight = self.tick(decide, after)
                    self._said = (None, 0.0)
                    if sight.leaving and self._may_go(sight):
                        return
                self.watch.turned()
            except (ChainError, DatabaseUnavailable) as error:
                self._say(error)
                self.watch.turned(error)
            time.sleep(self.settings.poll_seconds)

    def _say(self, error: GradproofError) -> None:
        """Log what goes wrong, the same kind of trouble only now and then."""
        now = time.monotonic()
        if self._said[0] is not type(error) or now - self._said[1] >= REPEAT_SECONDS:
            self._said = (type(error), now)
            log.warning("tick given up", error=str(error))

    def _may_go(self, sight: Sight) -> bool:
        awaited = self.departure.awaits(sight)
        if awaited != self.watch.awaited:
            log.info("leaving", waits=awaited or "for nothing")
        self.watch.awaited = awaited
        return not awaited

    def tick(self, decide: Decide, after: Callable[[Sight], None] | None = None) -> Sight:
        """Observe once and act until nothing more can be done in this block."""
        self.sender.settle()
        leaving = self._leaving
        if leaving:
            under_way = self.sender.journal.tally().counts.get("sent", 0)
            self.departure.hush(under_way, self.chain.head())
        with self.watch.busy("reading the chain"):
            sight = self.observer.observe(leaving=leaving)
        self.watch.saw(sight)
        # Who has nothing left to finish does nothing more, and so gets away.
        at_work = not leaving or bool(self.departure.unfinished(sight))
        done: set[Action] = set()
        while at_work and not self._stopping:
            actions = most_urgent(action for action in decide(sight) if action not in done)
            if not actions:
                break
            for action in actions:
                if not self._stopping:
                    done.add(action)
                    self._act(sight, action)
            # The next turn seals what is on disk now: the sight shows it.
        if done:
            self.departure.stir()
        if after is not None:
            after(sight)
        self.answerer.tidy(sight.market, sight.now)
        self.openings.tidy(sight.market, sight.read)
        self.watch.fleet(self.leases.depth(), self.leases.lease_age())
        self.keeper.let_go(sight.market)
        # After every duty: what strangers post keeps nobody from opening a seal.
        with self.watch.busy("reading manifests"):
            self.vetting.ask(sight)
        return sight

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = self._leaving
        self._leaving = True

    def _act(self, sight: Sight, action: Action) -> None:
        try:
            match action:
                case Send():
                    self.outbox.send(action)
                case Answer():
                    self._answer(sight, action)
                case Hold():
                    self._hold(sight, action)
                case Prove():
                    self._prove(action)
        except ContractRejected as error:
            # Somebody was faster, or the window closed: the next sight tells.
            log.info("not sent", error=str(error))
            self.watch.acted(_name(action), "refused")
        except (ChainError, DatabaseUnavailable):
            raise
        except GradproofError as error:
            log.error("duty given up", action=str(action), error=str(error))
            self.watch.acted(_name(action), "failed")

    def _prove(self, action: Prove) -> None:
        """A header that a reorganisation replaced was refused, and goes out again as it is now."""
        header = self.chain.encoded_header(action.block)
        call = Call(self.chain.beacon, "prove", (action.block, header))
        self.sender.submit(f"prove/{action.block}", call)

    def _answer(self, sight: Sight, action: Answer) -> None:
        js = sight.jobs[action.job]
        record = js.open_round
        assert record is not None
        self.sender.require_gas()  # before the work: what cannot be sealed earns nothing
        found = self.answerer.find(
            js.past, record, action.question, js.round.included, js.round.deadline
        )
        if found is None:
            return  # a consumer is at it; the tick after it has finished comes back here
        self.openings.save(
            self.answerer.open(
                js.past, action.round, action.stage, action.question, action.seat, found
            )
        )
        stage = action.stage.name.lower()
        self.watch.computed(stage, found.seconds)
        self.watch.acted("answer", "done")
        log.info("answered", stage=stage, question=action.question, round=action.round)

    def _hold(self, sight: Sight, action: Hold) -> None:
        """Post which results are here whole, once there is something to say."""
        with self.watch.busy("gather"):
            bitmap = self.gathering.word(sight, action.job)
        if bitmap is not None:
            key = f"{action.job}/{action.round}/gather/{action.seat}"
            self.outbox.send(Send(key, "gather", (action.job, action.round, action.seat, bitmap)))


def _on_signal(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _name(action: Action) -> str:
    return action.function if isinstance(action, Send) else type(action).__name__.lower()
