"""Training data on this machine: verified token shards, and which sequence belongs where.

Workers and verifiers open it after they fetched the shards. INVARIANTS: no token is served from a
file whose length, root or token range differs from the manifest; the sequence at a place (round,
task, micro-batch) is a pure function of the manifest, in integers; within an epoch no sequence
comes twice.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from protocol.exact.roots import tensor_root
from protocol.rules.draws import permute
from protocol.storage.cid import Cid
from protocol.training.errors import DataError
from protocol.training.manifest import Manifest, windows
from protocol.training.manifest_parts import Shard

_TYPES: Final = {2: torch.uint16, 4: torch.int32}
_CHUNK: Final = 1 << 22

ShardPathOf = Callable[[Cid], Path]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The order of the training sequences: an independent permutation of all of them per epoch."""

    seed: int
    total: int
    tasks: int
    micro_batches: int
    sequences: int

    @classmethod
    def of(cls, manifest: Manifest) -> Schedule:
        """Read the schedule out of a manifest."""
        total = sum(windows(s.tokens, manifest.sequence_length) for s in manifest.data.shards)
        batch = manifest.batch
        return cls(manifest.order_seed, total, manifest.tasks, batch.micro_batches, batch.sequences)

    def sequences_of(self, round_: int, task: int, micro_batch: int) -> list[int]:
        """Return the numbers of the sequences of one micro-batch."""
        first = (round_ * self.tasks + task) * self.micro_batches + micro_batch
        return [self._draw(first * self.sequences + i) for i in range(self.sequences)]

    def _draw(self, position: int) -> int:
        epoch, index = divmod(position, self.total)
        key = hashlib.sha256(f"gradproof/order/{self.seed}/{epoch}".encode()).digest()
        return permute(key, index, self.total)


class Dataset:
    """The token shards of a job, mapped into memory. Use `open_dataset` to make one."""

    def __init__(self, manifest: Manifest, shards: list[Tensor], evaluation: Tensor) -> None:
        self._length = manifest.sequence_length
        self._schedule = Schedule.of(manifest)
        self._shards = shards
        self._evaluation = evaluation
        self._evaluated = manifest.evaluation.sequences
        counts = (windows(len(shard), self._length) for shard in shards)
        self._ends = list(itertools.accumulate(counts))

    def batch(self, round_: int, task: int, micro_batch: int) -> Tensor:
        """Return the tokens of a micro-batch, int64 [sequences, sequence_length + 1]."""
        numbers = self._schedule.sequences_of(round_, task, micro_batch)
        return torch.stack([self._sequence(number) for number in numbers])

    def evaluation_batches(self) -> list[Tensor]:
        """Return the evaluation set in batches like those of a task, spread over its shard."""
        available = windows(len(self._evaluation), self._length)
        picked = [i * available // self._evaluated for i in range(self._evaluated)]
        rows = [self._window(self._evaluation, number) for number in picked]
        size = self._schedule.sequences
        return [torch.stack(rows[i : i + size]) for i in range(0, len(rows), size)]

    def _sequence(self, number: int) -> Tensor:
        shard = bisect.bisect_right(self._ends, number)
        before = self._ends[shard - 1] if shard else 0
        return self._window(self._shards[shard], number - before)

    def _window(self, shard: Tensor, number: int) -> Tensor:
        start = number * self._length
        return shard[start : start + self._length + 1].to(torch.int64)


def open_dataset(manifest: Manifest, shard_path_of: ShardPathOf) -> Dataset:
    """Verify the job's shards and map them. Raises `DataError` for any that is not the job's."""
    token_bytes = manifest.data.token_bytes
    opened = [
        _open_shard(shard, shard_path_of(shard.cid), token_bytes, manifest.model.vocabulary)
        for shard in (*manifest.data.shards, manifest.evaluation.shard)
    ]
    return Dataset(manifest, opened[:-1], opened[-1])


def shard_root(path: Path) -> bytes:
    """Return the root of a shard: that of its bytes as one uint8 vector."""
    return tensor_root(_map(path, path.stat().st_size, torch.uint8))


def _open_shard(shard: Shard, path: Path, token_bytes: int, vocabulary: int) -> Tensor:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _refuse(path, f"it cannot be read ({error.strerror})") from error
    if size != shard.length:
        raise _refuse(path, f"it has {size} bytes, the manifest says {shard.length}")
    if shard_root(path) != shard.root:
        raise _refuse(path, "its root is not the manifest's")
    tokens = _map(path, shard.tokens, _TYPES[token_bytes])
    for start in range(0, shard.tokens, _CHUNK):
        widened = tokens[start : start + _CHUNK].to(torch.int64)
        if int(widened.min()) < 0 or int(widened.max()) >= vocabulary:
            raise _refuse(path, f"it holds tokens outside the vocabulary of {vocabulary}")
    return tokens


def _map(path: Path, count: int, dtype: torch.dtype) -> Tensor:
    # A private mapping: nobody writes through it, and nothing is read before it is used.
    return torch.from_file(str(path), shared=False, size=count, dtype=dtype)


def _refuse(path: Path, reason: str) -> DataError:
    return DataError(
        f"The token shard {path} cannot be used", why=reason, fix="Fetch it again elsewhere."
    )
