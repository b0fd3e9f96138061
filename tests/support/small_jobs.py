"""A job file whose job trains in seconds: the smallest model on the smallest package's text."""

import sysconfig
from pathlib import Path
from typing import Any

TEXTS = Path(sysconfig.get_path("stdlib"), "json")
TRAINING: dict[str, Any] = {
    "name": "small job",
    "layers": 1,
    "width": 32,
    "heads": 2,
    "sequence_length": 16,
    "sequences": 2,
    "evaluation_sequences": 4,
    "rounds": 2,
    "tasks": 3,
    "most_bytes": 20_000,
}


def job_file_text(
    coordinator: str, *, top: str = "", training: str = "", market: str = "", data: Path = TEXTS
) -> str:
    """TOML of a good job file; lines given for a section follow, or replace, its own."""
    return "\n".join(
        [
            _section({"data": str(data)}, top),
            "[training]",
            _section(TRAINING, training),
            "[market]",
            _section({"coordinator": coordinator, "checks": 2}, market),
        ]
    )


def _section(fields: dict[str, Any], more: str) -> str:
    named = {line.split("=")[0].strip() for line in more.splitlines()}
    kept = [f"{name} = {_toml(value)}" for name, value in fields.items() if name not in named]
    return "\n".join([*kept, more])


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
