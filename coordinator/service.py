"""The coordinator: accept, move on, propose; and say how the model is doing."""

import structlog

from coordinator.project import decide
from protocol.chain.wallet import unlock
from protocol.role.job_files import FETCH_SECONDS, JobFiles
from protocol.role.service import RoleService
from protocol.role.sight import Sight
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory
from protocol.rules.records import JobId
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store
from protocol.training.model import VALIDATION_LOSS

log = structlog.get_logger()


def run_coordinator(settings: Settings) -> None:
    """Run one coordinator until it has left."""
    account = unlock(settings.wallet_path(settings.operator), settings.password.get_secret_value())
    with open_store(settings.apis, settings.gateways) as store:
        service = RoleService(
            settings, store, account, settings.provider_address(), settings.home / "coordinator"
        )
        told: dict[JobId, int] = {}

        def report(sight: Sight) -> None:
            for past in sight.market.jobs.values():
                if past.terms.coordinator != sight.operator:
                    continue
                service.keeper.keep_states(past)
                if past.updates > told.get(past.job, 0):
                    told[past.job] = past.updates
                    loss = validation_loss(service.files, past)
                    log.info("update final", job=past.job, updates=past.updates, loss=loss)

        service.run(decide, after=report)


def validation_loss(files: JobFiles, past: JobHistory) -> float | None:
    """Loss of the newest final state, which is a verified part of it; None while it is not here."""
    try:
        state = files.state(past, past.state_root, past.state_cid, timeout=FETCH_SECONDS)
    except GradproofError as error:
        log.warning("state not here", job=past.job, error=str(error))
        return None
    return round(float(state[VALIDATION_LOSS]), 4)
