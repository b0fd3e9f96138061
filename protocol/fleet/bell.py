"""Ringing consumers by Celery: through files in the home, or a Redis or RabbitMQ by URL.

A message carries nothing but its name, and says only: look at the leases. A message that is lost,
late or delivered twice changes nothing but when somebody looks, and consumers look by themselves as
well. INVARIANT: whatever a broker does, who rings and who listens goes on. The only module that
knows Celery.
"""

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any, Final, Never

import kombu
import structlog
from celery import Celery
from celery.app.amqp import AMQP
from celery.exceptions import SecurityWarning
from kombu import transport
from kombu.exceptions import ChannelError
from kombu.transport import filesystem

from protocol.fleet.errors import FleetError
from protocol.fleet.pauses import Pauses
from protocol.runtime.settings import Settings

log = structlog.get_logger()

RING: Final = "gradproof.ring"
RING_SECONDS: Final = 60.0
"""A ring that nobody heard for so long says nothing new."""
CONNECT_SECONDS: Final = 2.0
_FILES: Final = "gradproof-files"


class _Channel(filesystem.Channel):  # type: ignore[misc]  # kombu ships no types
    """Files as messages. One that is read while it is being written counts as a lost ring.

    Rings go to a queue by its name, so nobody asks who hears what. kombu would keep that in a file
    all the same, and an empty one, as a crash leaves it, would silence the bell.
    """

    def _queue_bind(self, *_: Any) -> None:
        """Nothing is written."""

    def _get(self, queue: str) -> Any:
        try:
            return super()._get(queue)
        except (ValueError, ChannelError):
            raise Empty from None


class FilesTransport(filesystem.Transport):  # type: ignore[misc]  # the same
    """The embedded broker."""

    Channel = _Channel


transport.TRANSPORT_ALIASES[_FILES] = f"{__name__}:{FilesTransport.__name__}"


class _Unacknowledged(kombu.Consumer):  # type: ignore[misc]  # the same
    """Rings are not acknowledged: a Redis that dies under an acknowledgement leaves Celery deaf."""

    no_ack = True


class _Amqp(AMQP):  # type: ignore[misc]  # the same
    Consumer = _Unacknowledged


class _Celery(Celery):  # type: ignore[misc]  # the same
    """Knows the connection that it listens by: one that is refused at once, Celery leaves open."""

    heard_by: Any = None

    def connection_for_read(self, *args: Any, **named: Any) -> Any:
        self.heard_by = super().connection_for_read(*args, **named)
        return self.heard_by


class Bell:
    """Rings the consumers of one queue; never raises and never waits long."""

    def __init__(self, settings: Settings) -> None:
        self._app = celery_app(settings)
        self._queue = settings.queue
        self._messages = _messages(settings)

    def ring(self) -> None:
        """Wake a consumer, or leave it to look by itself where the broker is away."""
        once = {"max_retries": 1, "interval_start": 0}
        try:
            _remove_old(self._messages)
            self._app.send_task(
                RING, queue=self._queue, expires=RING_SECONDS, retry=True, retry_policy=once
            )
        except Exception as error:  # noqa: BLE001 -- a role has seals to open, bell or no bell
            log.warning("broker away; consumers look by themselves", error=_named(error))


def listen(settings: Settings, name: str, wake: Callable[[], None]) -> Never:
    """Call `wake` at every ring, for ever; after anything that ends it listens again."""
    pauses = Pauses()
    while True:
        why = "its worker has ended"
        try:
            _listen_once(settings, name, wake)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- Celery ends by SystemExit
            why = _named(error)
        pause = pauses.begin()
        log.error("bell silent; looking without it", why=why, pause=pause)
        time.sleep(pause)


def _listen_once(settings: Settings, name: str, wake: Callable[[], None]) -> None:
    app = celery_app(settings)

    # Not shared: the next time it listens would find the name taken.
    @app.task(name=RING, shared=False)  # type: ignore[untyped-decorator]  # Celery ships no types
    def ring() -> None:
        wake()

    with warnings.catch_warnings():
        # Containers run as root, and nothing here unpickles: messages are JSON, and empty.
        warnings.simplefilter("ignore", SecurityWarning)
        worker = app.Worker(
            hostname=name,
            queues=[settings.queue],
            pool="solo",
            concurrency=1,
            loglevel="WARNING",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
    try:
        worker.start()
    finally:
        if app.heard_by is not None:
            with suppress(Exception):
                app.heard_by.close()


def celery_app(settings: Settings) -> _Celery:
    """Celery as this home is configured; raises FleetError for a broker that it does not know."""
    url = settings.broker.get_secret_value()
    app = _Celery("gradproof", set_as_current=False, amqp=_Amqp)
    app.conf.update(
        broker_url=url or f"{_FILES}://localhost",
        broker_transport_options=_options(settings, url),
        broker_connection_timeout=CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_default_delivery_mode="transient",
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
    )
    return app


def _options(settings: Settings, url: str) -> dict[str, Any]:
    """What each broker needs so that nobody hangs on it."""
    match url.split(":")[0]:
        case "redis" | "rediss":
            return {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": 30.0}
        case "amqp" | "amqps" | "pyamqp":
            return {"connect_timeout": CONNECT_SECONDS}
        case "":
            folder = _messages(settings)
            folder.mkdir(parents=True, exist_ok=True)
            return {
                "data_folder_in": str(folder),
                "data_folder_out": str(folder),
                "polling_interval": 0.1,
            }
        case kind:
            raise FleetError(
                f"no broker of the kind {kind} is supported",
                why="Redis and RabbitMQ are, and files in the home where no broker is set.",
                fix="Set GRADPROOF_BROKER to redis://HOST or amqp://USER:PASSWORD@HOST.",
            )


def _messages(settings: Settings) -> Path:
    """The folder of the embedded broker."""
    return settings.home / "fleet" / "messages"


def _remove_old(messages: Path) -> None:
    """Remove rings that nobody heard in time; where nobody listens here, nobody else does."""
    oldest = time.time() - RING_SECONDS
    for ring in messages.glob("*.msg"):
        try:
            if ring.stat().st_mtime < oldest:
                ring.unlink()
        except FileNotFoundError:
            continue  # somebody heard it after all


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
