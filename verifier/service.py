"""The verifier: recompute what chance assigns, seal before anything is public, vote, gather."""

from protocol.chain.wallet import unlock
from protocol.role.service import RoleService
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store
from verifier.draw import Limits, decide
from verifier.leaving import unfinished


def run_verifier(settings: Settings, limits: Limits) -> None:
    """Run one verifier until it has left."""
    account = unlock(settings.wallet_path(settings.operator), settings.password.get_secret_value())
    with open_store(settings.apis, settings.gateways) as store:
        service = RoleService(
            settings, store, account, settings.provider_address(), settings.home / "verifier"
        )
        service.run(lambda sight: decide(sight, limits), unfinished)
