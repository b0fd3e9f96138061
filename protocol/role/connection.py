"""The chain as this process is configured to see it."""

from protocol.chain.client import Chain
from protocol.chain.deployment import Deployment
from protocol.chain.errors import WrongChain
from protocol.runtime.settings import Settings


def open_chain(settings: Settings) -> Chain:
    """Connect to the configured market; raises ChainError.

    GRADPROOF_CHAIN_ID, where it is set, must be the address book's.
    """
    deployment = Deployment.read(settings.deployment_path)
    if settings.chain_id is not None and settings.chain_id != deployment.chain_id:
        raise WrongChain(settings.rpc_url, settings.chain_id, deployment.chain_id)
    return Chain(settings.rpc_url, deployment)
