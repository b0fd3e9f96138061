"""The files of a job, fetched once, verified against the chain, opened for computing.

Everything comes from strangers: the manifest must hash to the digest on chain and agree with the
terms, every shard and bundle to its CID and root, and no file may be larger than the manifest
allows.
"""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

from torch import Tensor

from protocol.rules.errors import GradproofError
from protocol.rules.records import JobId
from protocol.storage.cache import Cache
from protocol.storage.cid import Cid
from protocol.storage.store import ContentStore
from protocol.training.bundle import ShardFile, list_shards, read_bundle
from protocol.training.canonical import MAX_DOCUMENT_BYTES
from protocol.training.data import Dataset, open_dataset
from protocol.training.layout import Schema
from protocol.training.manifest import Manifest
from protocol.training.model import result_schema, schema

FETCH_SECONDS = 60.0
"""Whatever has not arrived by then counts as not held."""


TOKENIZER_LIMIT = 16 << 20


class Terms(Protocol):
    """What is on chain of a job's files: digests, and counts that the manifest repeats."""

    @property
    def manifest(self) -> bytes: ...
    @property
    def genesis_root(self) -> bytes: ...
    @property
    def genesis_cid(self) -> bytes: ...
    @property
    def rounds(self) -> int: ...
    @property
    def tasks(self) -> int: ...


class Described(Protocol):
    """A job as far as its files go: its history, or the description of a computation."""

    @property
    def job(self) -> JobId: ...
    @property
    def terms(self) -> Terms: ...


class ManifestDiffers(GradproofError):
    """The manifest does not say what the job's terms say."""


class JobFiles:
    """Files of any number of jobs; remembers what it has opened."""

    def __init__(self, store: ContentStore, cache: Cache) -> None:
        self.store = store
        self.cache = cache
        self._manifests: dict[JobId, Manifest] = {}
        self._datasets: dict[JobId, Dataset] = {}
        self._states: dict[bytes, dict[str, Tensor]] = {}
        self._loans: dict[JobId, ExitStack] = {}

    def manifest(self, past: Described, *, timeout: float = FETCH_SECONDS) -> Manifest:
        """The job's manifest; raises StorageError, ManifestError or ManifestDiffers."""
        if past.job not in self._manifests:
            manifest = Manifest.parse(self._document(past.terms.manifest, timeout))
            _check_against_terms(manifest, past)
            self._manifests[past.job] = manifest
        return self._manifests[past.job]

    def dataset(self, past: Described) -> Dataset:
        """The job's training and evaluation tokens."""
        if past.job not in self._datasets:
            manifest = self.manifest(past)
            lengths = {
                shard.cid: shard.length
                for shard in (*manifest.data.shards, manifest.evaluation.shard)
            }
            with ExitStack() as loans:
                self._datasets[past.job] = open_dataset(
                    manifest, lambda cid: loans.enter_context(self.lend(cid, lengths[cid]))
                )
                # Mapped into memory: borrowed for as long as the job is worked on.
                self._loans[past.job] = loans.pop_all()
        return self._datasets[past.job]

    def opened(self) -> set[JobId]:
        """The jobs for which something is open."""
        return set(self._manifests) | set(self._datasets)

    def close(self, job: JobId) -> None:
        """Give back what was opened for a job that is over."""
        self._manifests.pop(job, None)
        self._datasets.pop(job, None)
        if job in self._loans:
            self._loans.pop(job).close()

    def tokenizer(self, past: Described) -> bytes | None:
        """The published tokenizer of a BPE job; None where tokens are bytes."""
        cid = self.manifest(past).tokenizer.cid
        if cid is None:
            return None
        return self.store.fetch_bytes(cid, TOKENIZER_LIMIT, timeout=FETCH_SECONDS)

    def state(
        self, past: Described, root: bytes, cid: bytes, *, timeout: float = math.inf
    ) -> dict[str, Tensor]:
        """A state of the job: parameters, moments, step, validation loss; see `result`."""
        if root not in self._states:
            self._states = {root: self._bundle(past, schema, root, cid, timeout)}
        return self._states[root]

    def result(
        self, past: Described, root: bytes, cid: bytes, *, timeout: float = math.inf
    ) -> dict[str, Tensor]:
        """A revealed result: clipped gradients and loss.

        `timeout` is in seconds, for all its files together; what has arrived by then is in the
        cache, and the next call goes on from there. Raises StorageError or BundleError.
        """
        return self._bundle(past, result_schema, root, cid, timeout)

    def state_files(
        self, past: Described, cid: bytes, *, timeout: float = FETCH_SECONDS
    ) -> tuple[bytes, tuple[ShardFile, ...]]:
        """The index of a state, and the shards that it names."""
        index = self._document(cid, timeout)
        return index, list_shards(index, schema(self.manifest(past)))

    def lend(
        self, cid: Cid, limit: int, *, timeout: float = FETCH_SECONDS
    ) -> AbstractContextManager[Path]:
        """A verified local copy of a file, from the cache or fetched into it."""
        return self.cache.lend(self.store, cid, limit, timeout=timeout)

    def _bundle(
        self,
        past: Described,
        schema_of: Callable[[Manifest], Schema],
        root: bytes,
        cid: bytes,
        timeout: float,
    ) -> dict[str, Tensor]:
        until = time.monotonic() + timeout
        expect = schema_of(self.manifest(past, timeout=_left(until)))
        index = self._document(cid, _left(until))
        lengths = {shard.cid: shard.length for shard in list_shards(index, expect)}
        with ExitStack() as loans:

            def borrow(shard: Cid) -> Path:
                return loans.enter_context(self.lend(shard, lengths[shard], timeout=_left(until)))

            return read_bundle(index, borrow, expect, root)

    def _document(self, digest: bytes, timeout: float = FETCH_SECONDS) -> bytes:
        """A JSON document of strangers: one raw block of bounded size."""
        return self.store.fetch_bytes(Cid.raw(digest), MAX_DOCUMENT_BYTES, timeout=timeout)


def _left(until: float) -> float:
    """Seconds that one file may take of those that are left for all."""
    return max(0.0, min(FETCH_SECONDS, until - time.monotonic()))


def _check_against_terms(manifest: Manifest, past: Described) -> None:
    terms = past.terms
    pairs = {
        "rounds": (manifest.rounds, terms.rounds),
        "tasks": (manifest.tasks, terms.tasks),
        "genesis root": (manifest.genesis.root, terms.genesis_root),
        "genesis CID": (manifest.genesis.cid.digest, terms.genesis_cid),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise ManifestDiffers(
                f"job {past.job}: the manifest's {name} is not the one on chain",
                why="Manifest and terms describe different work.",
                fix="Do not work on this job.",
            )
