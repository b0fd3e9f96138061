"""Progress bars of the store's commands, as a terminal shows them, and silence where there is none.

The terminal is a pseudo-terminal: the commands see a real one, the test reads what it is sent.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from protocol.storage.unixfs import cid_of_file

MIB = 1024 * 1024
COMMAND = [sys.executable, "-m", "coordinator.cli.main", "store"]
Shown = Callable[..., tuple[str, str]]
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """Run a store command on a terminal of 120 columns; return its output and what was drawn."""
    kept = {name: value for name, value in os.environ.items() if "GRADPROOF_" not in name}
    kept |= {"GRADPROOF_HOME": str(tmp_path / "home"), "TERM": "xterm"}
    kept.pop("COLUMNS", None)

    def run(*arguments: object) -> tuple[str, str]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        command = [*COMMAND, *map(str, arguments)]
        with subprocess.Popen(
            command, env=kept, stdout=subprocess.PIPE, stderr=theirs, text=True
        ) as process:
            os.close(theirs)
            drawn = b""
            with suppress(OSError):  # how a terminal ends on Linux
                while data := os.read(ours, 65536):
                    drawn += data
            os.close(ours)
            assert process.stdout is not None
            out = process.stdout.read()
        text = _CONTROL.sub("", drawn.decode())
        assert process.returncode == 0, text
        return out, text

    return run


def test_addAndGet_drawBytesAndRateOfEachFile(shown: Shown, tmp_path: Path) -> None:
    big, small, out = tmp_path / "weights", tmp_path / "notes", tmp_path / "copy"
    big.write_bytes(os.urandom(40 * MIB))
    small.write_bytes(b"x")
    said, drawn = shown("add", big, small)
    assert str(cid_of_file(big)) in said
    assert "\u2501" not in said  # bars go to the terminal, results to standard output
    assert re.search(r"weights \S*\u2501+.*41\.9/41\.9 MB", drawn), drawn
    assert re.search(r"weights .* MB/s", drawn), drawn
    assert "notes" in drawn
    _, drawn = shown("get", cid_of_file(big), out)
    assert re.search(r"copy \S*\u2501+.*41\.9/41\.9 MB.*MB/s", drawn), drawn
    assert out.read_bytes() == big.read_bytes()
