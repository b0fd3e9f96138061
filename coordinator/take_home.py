"""Taking the trained model home: the newest final state as a folder, whole or not at all."""

import tempfile
from pathlib import Path

from protocol.role.job_files import JobFiles
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory
from protocol.training.export import export_model


class ExportRefused(GradproofError):
    """The model cannot be written where it was asked for."""


def export_job(files: JobFiles, past: JobHistory, out: Path) -> None:
    """Write the model to the new folder `out`; raises ExportRefused, StorageError."""
    if out.exists():
        raise ExportRefused(
            f"{out} exists already",
            why="An export never overwrites, so that two models cannot mix.",
            fix="Name a new folder with --out.",
        )
    manifest = files.manifest(past)
    state = files.state(past, past.state_root, past.state_cid)
    tokenizer = files.tokenizer(past)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as scratch:
            part = Path(scratch) / "model"
            export_model(manifest, state, part, tokenizer)
            part.rename(out)
    except OSError as error:
        raise ExportRefused(
            f"{out} cannot be written", why=str(error), fix="Name another folder with --out."
        ) from None
