"""Posting a job: author it, publish its files, put its budget into escrow."""

import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from coordinator.job_file import JobFile
from protocol.chain.client import Call, Chain
from protocol.chain.errors import ContractRejected, InsufficientFunds
from protocol.chain.market_config import MarketConfig
from protocol.chain.payment import send_paying
from protocol.chain.tx_sender import TxSender
from protocol.role.pins import DRAFT, Pins
from protocol.rules.economics import required_escrow
from protocol.rules.errors import BadTerm, GradproofError
from protocol.rules.records import JobId, Terms, Windows
from protocol.storage.cid import Cid
from protocol.storage.store import ContentStore
from protocol.training.authoring import Authored, author_job

Progress = Callable[[str, int, int], None]

MAX_FAILED_ROUNDS, MAX_VERIFIERS = 2**8 - 1, 2**16 - 1
"""What fits into the contract's fields."""


def post_job(
    chain: Chain,
    sender: TxSender,
    store: ContentStore,
    job_file: JobFile,
    progress: Progress,
    pins: Pins,
) -> JobId:
    """Post a job and return its number; nothing is sent unless terms and balance suffice.

    `progress(what, done, total)` follows the publishing; `pins` keeps what was published until
    the job is forgotten. Raises JobFileError, BadTerm, NoText,
    InsufficientFunds, StorageError, ChainError.
    """
    terms = job_file.terms()
    check_market(chain, terms)
    escrow = required_escrow(terms)
    check_balance(chain, sender, escrow)
    sender.require_gas()
    data = job_file.data.expanduser()
    if not data.is_dir():
        raise GradproofError(
            f"there is no folder {data}", fix="Set `data` in the job file to a folder of text."
        )
    with tempfile.TemporaryDirectory(prefix="gradproof-job-") as scratch:
        progress("author", 0, 1)
        authored = author_job(data, Path(scratch), job_file.settings())
        progress("author", 1, 1)
        manifest = Cid.raw(authored.manifest.digest())
        pins.hold(DRAFT, manifest, authored.files, stays=True)
        publish(store, authored, progress)
    terms = job_file.terms(
        authored.manifest.digest(), authored.genesis.root, authored.genesis.index_digest
    )
    try:
        job = send_post(chain, sender, terms, escrow)
    except ContractRejected:
        # Nothing else says for sure that no job has come of it.
        pins.release_draft(manifest, store)
        raise
    pins.adopt(manifest, job)
    return job


def publish(store: ContentStore, authored: Authored, progress: Progress) -> None:
    """Publish and pin every file of the job."""
    total = len(authored.files)
    for done, (cid, path) in enumerate(authored.files.items()):
        progress("publish", done, total)
        published = store.publish(path)
        assert published == cid
        store.pin(cid)
    progress("publish", total, total)


def check_market(chain: Chain, terms: Terms) -> None:
    """Raise BadTerm where `terms` break a constant of this market, so that nothing is sent."""
    bounds = MarketConfig(*chain.call(chain.market, "config"))

    def between(name: str, value: int, low: int, high: int) -> None:
        if not low <= value <= high:
            raise BadTerm(name, value, low if value < low else high, f"{low} to {high}")

    for field in fields(Windows):
        length = getattr(terms.windows, field.name)
        between(f"windows.{field.name}", length, bounds.min_window, bounds.max_window)
    between("rounds", terms.rounds, 1, bounds.max_rounds)
    between("panel", terms.panel, 1, bounds.max_panel)
    between("bond", terms.bond, 1, bounds.max_bond)
    between("max_failed_rounds", terms.max_failed_rounds, 1, MAX_FAILED_ROUNDS)
    between("min_verifiers", terms.min_verifiers, 1, MAX_VERIFIERS)


def check_balance(chain: Chain, sender: TxSender, escrow: int) -> None:
    """Raise InsufficientFunds unless the wallet holds `escrow` units of the token."""
    balance = chain.call(chain.token, "balanceOf", sender.address)
    if balance < escrow:
        raise InsufficientFunds(sender.address, "token units", balance, escrow)


def send_post(chain: Chain, sender: TxSender, terms: Terms, escrow: int) -> JobId:
    """Post and let the vault pull the escrow; the same manifest posted twice makes two jobs."""
    before = chain.call(chain.market, "jobs")
    label = f"post/{terms.manifest.hex()[:16]}/{before}"
    call = Call(chain.market, "post", (terms_fields(terms), escrow))
    transaction = send_paying(sender, label, call, escrow)
    posted = next(e for e in chain.events_of(transaction) if e.name == "JobPosted")
    return JobId(posted.args["job"])


def terms_fields(terms: Terms) -> tuple[object, ...]:
    """Terms as the tuple that the ABI takes, fields in the order of Types.sol."""
    w = terms.windows
    windows = tuple(getattr(w, name) for name in w.__dataclass_fields__)
    plain = [getattr(terms, name) for name in terms.__dataclass_fields__ if name != "windows"]
    return (*plain, windows)
