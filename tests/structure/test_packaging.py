"""What a user gets: a wheel with everything in it, and a command that starts at once."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("protocol", "worker", "verifier", "coordinator")

HELP_OF_EVERYTHING = """
import sys
from typer.main import get_command
from typer.testing import CliRunner
from coordinator.cli.main import app

def walk(command, path):
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0, (path, result.output)
    assert "Usage" in result.output, path
    for name, child in getattr(command, "commands", {}).items():
        walk(child, [*path, name])
    return len(getattr(command, "commands", {}))

assert walk(get_command(app), []) > 5
heavy = {"torch", "web3", "transformers", "sqlalchemy", "numpy"}
print(" ".join(sorted(heavy & set(sys.modules))))
"""


def test_help_of_every_command_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_EVERYTHING],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def data_files() -> list[str]:
    """Everything under the packages that is tracked and no Python."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a freshly built wheel."""
    builder = WheelBuilder(str(REPOSITORY))
    folder = tmp_path_factory.mktemp("wheel")
    [path] = builder.build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_tracked_file_of_the_packages(wheel: set[str]) -> None:
    files = data_files()
    assert "protocol/chain/abi/JobMarket.json" in files
    assert "protocol/py.typed" in files
    assert set(files) - wheel == set()


def test_wheel_holds_nothing_but_the_four_packages(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
