"""The chain as this process is configured to see it."""

from protocol.chain.client import Chain
from protocol.chain.deployment import Deployment
from protocol.chain.endpoints import shown
from protocol.chain.errors import WrongChain
from protocol.chain.fees import GWEI, FeePolicy
from protocol.runtime.settings import Settings


def open_chain(settings: Settings) -> Chain:
    """Connect to the configured market, by its first endpoint that answers; raises ChainError.

    GRADPROOF_CHAIN_ID, where it is set, must be the address book's.
    """
    deployment = Deployment.read(settings.deployment_path)
    if settings.chain_id is not None and settings.chain_id != deployment.chain_id:
        raise WrongChain(shown(settings.rpc_url), settings.chain_id, deployment.chain_id)
    return Chain(settings.rpc_url, deployment)


def fee_policy(settings: Settings) -> FeePolicy:
    """The most per gas that this operator allows."""
    return FeePolicy(round(settings.max_fee_gwei * GWEI), round(settings.max_tip_gwei * GWEI))
