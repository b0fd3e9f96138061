"""The worker: pull a task, compute it, seal it, open it, be paid."""

from protocol.chain.anvil import DEV_CHAIN_ID
from protocol.chain.deployment import Deployment
from protocol.chain.wallet import unlock
from protocol.role.service import RoleService
from protocol.rules.errors import RuleError
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store
from worker.claim import Limits, decide
from worker.dishonest import tamper_with


def run_worker(settings: Settings, limits: Limits, dishonest: str | None = None) -> None:
    """Run one worker until it is told to stop; `dishonest` is for development chains only."""
    on = Deployment.read(settings.deployment_path).chain_id
    if dishonest is not None and on != DEV_CHAIN_ID:
        raise RuleError(
            f"a worker does not cheat on chain {on}",
            why="--dishonest exists for demonstrations on a development chain.",
            fix="Leave --dishonest out.",
        )
    account = unlock(settings.wallet_path(settings.operator), settings.password.get_secret_value())
    with open_store(settings.apis, settings.gateways) as store:
        service = RoleService(
            settings,
            store,
            account,
            settings.provider_address(),
            settings.home / "worker",
            None if dishonest is None else tamper_with(dishonest),
        )
        service.run(lambda sight: decide(sight, limits))
