"""How the command line speaks: errors in three lines, reads as tables or JSON."""

import json
import sys
from typing import Any

from protocol.rules.errors import GradproofError


def complain(error: GradproofError) -> None:
    """What happened, why, and what to do next, on standard error."""
    lines = [f"error: {error.what}"]
    if error.why:
        lines.append(f"  why: {error.why}")
    if error.fix:
        lines.append(f"  fix: {error.fix}")
    sys.stderr.write("\n".join(lines) + "\n")


def emit(fields: dict[str, Any], *, as_json: bool) -> None:
    """Print a read: one JSON object, or one aligned line per field."""
    if as_json:
        sys.stdout.write(json.dumps(fields, indent=2, default=str) + "\n")
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        if isinstance(value, list):
            sys.stdout.write(f"{name}:\n")
            for row in value:
                shown = row.values() if isinstance(row, dict) else [row]
                sys.stdout.write("  " + "  ".join(str(part) for part in shown) + "\n")
        else:
            sys.stdout.write(f"{name:<{width}}  {value}\n")
