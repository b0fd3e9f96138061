"""A requester with money of its own who posts the smallest job."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from coordinator.cast import Actor, make_actor
from coordinator.faucet import fund
from coordinator.job_file import JobFile, units
from coordinator.post import post_job
from protocol.chain.client import Chain
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.role.pins import open_pins
from protocol.rules.records import JobId
from protocol.runtime.settings import Settings
from protocol.storage.store import open_store
from tests.support.small_jobs import TEXTS, TRAINING


def post_small_job(
    chain: Chain,
    settings: Settings,
    root: Path,
    coordinator: Actor,
    market: dict[str, Any],
    **training: int,
) -> JobId:
    """Post it with these market fields and changes to its training; returns its number."""
    requester = make_actor(root, "requester")
    fund(chain, root, [(requester.address, units(Decimal(1000)))])
    job_file = JobFile.model_validate(
        {
            "data": TEXTS,
            "training": TRAINING | training,
            "market": {"coordinator": coordinator.operator.address} | market,
        }
    )
    engine = open_database(settings.home / "chain.sqlite")
    sender = TxSender(chain, requester.owner, engine)
    with open_store(settings.apis) as store:
        return post_job(chain, sender, store, job_file, lambda *_: None, open_pins(settings))
