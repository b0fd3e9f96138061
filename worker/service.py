"""The worker: pull a task, compute it, seal it, open it, be paid."""

import sys
from collections.abc import Sequence

from protocol.chain.anvil import DEV_CHAIN_ID
from protocol.chain.deployment import Deployment
from protocol.chain.wallet import unlock
from protocol.fleet.backlog import Backlog
from protocol.fleet.embedded import COMMAND
from protocol.fleet.trials import Trials
from protocol.role.actions import Action
from protocol.role.service import RoleService
from protocol.role.sight import Sight
from protocol.rules.errors import RuleError
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store
from worker.claim import Limits, decide
from worker.leaving import unfinished
from worker.pacing import Pacing
from worker.survey import Survey

CHEAT = (sys.executable, "-m", "worker.dishonest")
"""Starts a consumer that cheats in the mode that follows."""


def run_worker(settings: Settings, limits: Limits, dishonest: str | None = None) -> None:
    """Run one worker until it has left; `dishonest` is for development chains only."""
    on = Deployment.read(settings.deployment_path).chain_id
    if dishonest is not None and on != DEV_CHAIN_ID:
        raise RuleError(
            f"a worker does not cheat on chain {on}",
            why="--dishonest exists for demonstrations on a development chain.",
            fix="Leave --dishonest out.",
        )
    consumer: Sequence[str] = COMMAND
    device = None
    if dishonest is not None:
        # A queue of its own: no honest consumer computes for it, and it for no honest role.
        settings = settings.model_copy(update={"queue": f"cheat-{dishonest}"})
        device = f"cpu:{settings.queue}"
        consumer = (*CHEAT, dishonest)
    account = unlock(settings.wallet_path(settings.operator), settings.password.get_secret_value())
    with open_store(settings.apis, settings.gateways) as store:
        service = RoleService(
            settings,
            store,
            account,
            settings.provider_address(),
            settings.home / "worker",
            consumer,
            device,
        )
        engine, place = service.leases.engine, service.answerer.place
        trials = Trials(engine, settings.queue, silent_seconds=2 * settings.lease_seconds)
        survey = Survey(service.chain, service.files, trials, place, limits)
        backlog = Backlog(engine, settings.queue)
        pacing = Pacing(service.chain, service.files, trials, backlog, place)

        def look(sight: Sight) -> None:
            survey.look(sight)
            slots = {int(job): found.slots for job, found in survey.rooms.items()}
            service.watch.metrics.weigh(len(trials.consumers()), slots)

        def act(sight: Sight) -> list[Action]:
            return decide(sight, limits, survey.rooms, pacing.look(sight, limits))

        service.run(act, unfinished, after=look)
