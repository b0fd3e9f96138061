"""The shape of the repository: sizes, names, layers, and nothing that belongs to one machine."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("protocol", "worker", "verifier", "coordinator")
CODE = {".py", ".sol", ".sh", ".css", ".html", ".js"}
LONGEST_FILE = 500
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
MACHINE_PATH = re.compile(r"/(?:work|root|home/\w+|Users/\w+)/|\.\./shared\b")
OWNERS = {
    "web3": ("protocol/chain/",),
    "ipfshttpclient": ("protocol/storage/",),
    "sqlalchemy": (
        "protocol/chain/",
        "protocol/database/",
        "protocol/fleet/backlog.py",
        "protocol/fleet/leases.py",
        "protocol/fleet/trials.py",
    ),
    "celery": ("protocol/fleet/bell.py",),
    "alembic": ("protocol/database/",),
}
"""Fragile libraries, and the only places that may import them."""


def tracked() -> list[Path]:
    """Every file of the repository, as git knows it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True
    )
    paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    assert len(paths) > 100
    return [path for path in paths if path.is_file()]


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the four packages, parsed."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield path.relative_to(REPOSITORY).as_posix(), ast.parse(path.read_text())


def imports_of(module: ast.Module) -> set[str]:
    """Top-level names that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines())
        for path in tracked()
        if path.suffix in CODE
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_file_is_named_after_nothing() -> None:
    bad = [
        path
        for path in tracked()
        if FORBIDDEN_NAMES & {part.split(".")[0] for part in path.relative_to(REPOSITORY).parts}
    ]
    assert bad == []


def test_no_text_names_a_path_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [(path.name, match.group()) for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_layers_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(linter), "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "5 kept" in done.stdout


@pytest.mark.parametrize("library", OWNERS)
def test_fragile_library_stays_behind_its_adapter(library: str) -> None:
    users = [name for name, module in modules() if library in imports_of(module)]
    assert users, f"nobody imports {library} any more: drop it here and from the dependencies"
    assert [name for name in users if not name.startswith(OWNERS[library])] == []


def test_rules_need_nothing_but_keccak() -> None:
    needed = set()
    for name, module in modules():
        if name.startswith("protocol/rules/"):
            needed |= imports_of(module)
    assert needed - set(sys.stdlib_module_names) == {"protocol", "eth_hash"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_dependency_ships_a_package_of_our_name(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"gradproof"}


def test_every_module_says_what_it_is() -> None:
    silent = [
        name for name, module in modules() if module.body and ast.get_docstring(module) is None
    ]
    assert silent == []
