"""Computing from a description: fetch what it names, run the program, publish the result.

Needs the content store and nothing else: no chain, no key. An answer is a pure function of public
inputs, so it does not matter who computes it, or how often.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from protocol.fleet.computation import Computation, Computed
from protocol.fleet.consumer import Note, Rehearsal
from protocol.fleet.errors import DeviceFailed, OutOfMemory
from protocol.fleet.memory import forget_peak, free_bytes, peak_bytes
from protocol.role.job_files import JobFiles
from protocol.rules.records import ZERO32, JobId
from protocol.training.bundle import write_bundle
from protocol.training.footprint import require_memory
from protocol.training.program import CPU, Result, compute_task, compute_update

Tamper = Callable[[JobId, Result], Result]


class StoreComputer:
    """Computes with files from a content store; `tamper` may spoil tasks (tests and the demo)."""

    def __init__(
        self,
        open_files: Callable[[], JobFiles],
        folder: Path,
        tamper: Tamper | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.open_files = open_files
        self.folder = folder
        self.device = device
        self.tamper = tamper
        self._files: dict[str, JobFiles] = {}  # by market: jobs of two may have one number

    def compute(self, wanted: Computation, note: Note) -> Computed:
        """Compute and publish one question; raises what fetching, computing, publishing raise."""
        files = self._opened(wanted)
        with on_device(self.device):
            require_memory(files.manifest(wanted), free_bytes(self.device))
            result = self._update(files, wanted) if wanted.is_update else self._task(files, wanted)
        if result.is_nonfinite:
            return Computed(result.root, ZERO32, result.witness)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            bundle = write_bundle(result.tensors, Path(folder))
            note([str(cid) for cid in (bundle.cid, *bundle.shard_cids)])
            for path in (*bundle.shard_paths, bundle.index_path):
                files.store.publish(path)
        return Computed(bundle.root, bundle.index_digest, result.witness)

    def rehearse(self, wanted: Computation) -> Rehearsal:
        """Compute a task and publish nothing; raises what fetching and computing raise."""
        files = self._opened(wanted)
        manifest = files.manifest(wanted)
        with on_device(self.device):
            require_memory(manifest, free_bytes(self.device))
            state = files.state(wanted, wanted.state_root, wanted.state_cid)
            dataset = files.dataset(wanted)
            forget_peak(self.device)
            began = time.monotonic()
            compute_task(
                manifest, state, dataset, wanted.round, wanted.question, device=self.device
            )
            return Rehearsal(time.monotonic() - began, peak_bytes(self.device))

    def _opened(self, wanted: Computation) -> JobFiles:
        if wanted.market not in self._files:
            self._files[wanted.market] = self.open_files()
        return self._files[wanted.market]

    def forget_all_but(self, jobs: set[tuple[str, JobId]]) -> None:
        """Close the files of jobs that are over."""
        for market, files in self._files.items():
            for job in files.opened() - {number for of, number in jobs if of == market}:
                files.close(job)

    def _task(self, files: JobFiles, wanted: Computation) -> Result:
        state = files.state(wanted, wanted.state_root, wanted.state_cid)
        manifest, dataset = files.manifest(wanted), files.dataset(wanted)
        result = compute_task(
            manifest, state, dataset, wanted.round, wanted.question, device=self.device
        )
        return result if self.tamper is None else self.tamper(wanted.job, result)

    def _update(self, files: JobFiles, wanted: Computation) -> Result:
        state = files.state(wanted, wanted.state_root, wanted.state_cid)
        results = {one.task: files.result(wanted, one.root, one.cid) for one in wanted.included}
        return compute_update(
            files.manifest(wanted), state, results, files.dataset(wanted), device=self.device
        )


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Say what a device's troubles mean: memory may be there later, a failure is for good."""
    try:
        yield
    except torch.AcceleratorError as error:
        raise DeviceFailed(str(device), _first_line(error)) from error
    except RuntimeError as error:
        # The processor's allocator has no error of its own.
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise OutOfMemory(str(device), _first_line(error)) from error
        raise


def _first_line(error: RuntimeError) -> str:
    return str(error).splitlines()[0]
