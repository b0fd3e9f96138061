"""Help is for those who have installed nothing yet: it is instant and loads no heavy package."""

import subprocess
import sys

import pytest

from coordinator.cli.main import app

HEAVY = ("torch", "web3", "transformers", "sqlalchemy", "eth_account", "ipfshttpclient")
ASK_EVERYTHING = """
import sys, typer
from coordinator.cli.main import app

def paths(command, path=()):
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))

asked = 0
for path in paths(typer.main.get_command(app)):
    assert app([*path, "--help"], standalone_mode=False) in (0, None), path
    asked += 1
sys.stderr.write(f"{asked} " + " ".join(sys.modules))
"""


def test_helpOfEveryCommand_loadsNothingHeavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK_EVERYTHING], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    asked, *loaded = done.stderr.split()
    assert int(asked) >= 25
    assert not {name for name in loaded if name.split(".")[0] in HEAVY}


def test_everyCommand_saysWhatItDoes(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # it is a group
        assert command.help, name


@pytest.mark.parametrize("arguments", [["nonsense"], ["job", "show", "many"], ["audit"]])
def test_usageError_endsInOneSentence(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "coordinator.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
