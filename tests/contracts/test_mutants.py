"""Planted bugs: each patch in contracts/test/mutants breaks one rule, and the tests must see it.

A patch says which test file finds it and what that prints. The suite that finds nothing in a market
with a forgotten unlock would find nothing in ours either. Patches apply exactly or not at all. The
gate plays two of them, `make mutants` all: each is a build of its own.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).parents[2] / "contracts"
FORGE = CONTRACTS / "scripts" / "forge"
PATCHES = sorted((CONTRACTS / "test" / "mutants").glob("*.patch"))
ALL = os.environ.get("GRADPROOF_MUTANTS") == "all"
PLAYED = [p for p in PATCHES if ALL or p.stem in ("forgotten-unlock", "missing-sender")]
CALLS = {"FOUNDRY_INVARIANT_RUNS": "1", "FOUNDRY_INVARIANT_DEPTH": "2000"}
"""Of random play per campaign: a bug of these kinds shows within a few hundred."""


def saying(patch: Path, word: str) -> str:
    """A line of the patch's head."""
    found = re.search(rf"^{word}: (.+)$", patch.read_text(), re.MULTILINE)
    assert found, f"{patch.name} has no line `{word}: ...`"
    return found[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The contracts, to be broken."""
    if not (CONTRACTS / "node_modules").exists():
        pytest.fail("forge is not installed: run `npm ci` in contracts/ (or `make setup`)")
    for folder in ("src", "test", "scripts"):
        shutil.copytree(CONTRACTS / folder, tmp_path / folder)
    shutil.copy(CONTRACTS / "foundry.toml", tmp_path)
    (tmp_path / "node_modules").symlink_to(CONTRACTS / "node_modules")
    return tmp_path


def forge(where: Path, test_file: str) -> tuple[int, str]:
    """Exit status and output of one test file."""
    done = subprocess.run(
        [str(FORGE), "test", "--match-path", test_file],
        cwd=where,
        env={**os.environ, **CALLS, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def apply(copy: Path, patch: Path) -> None:
    """Break the copy, exactly as the patch says."""
    applied = subprocess.run(
        ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "-i", str(patch)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert applied.returncode == 0, f"{patch.name} no longer applies: {applied.stdout}"


def test_there_are_mutants_of_every_kind() -> None:
    assert len(PATCHES) >= 5


@pytest.mark.parametrize("patch", PATCHES, ids=lambda p: p.stem)
def test_patch_applies(copy: Path, patch: Path) -> None:
    apply(copy, patch)


@pytest.mark.slow
@pytest.mark.skipif(not ALL, reason="`make mutants` runs it; test_forge_tests_pass covers the gate")
@pytest.mark.parametrize("test_file", sorted({saying(p, "Found by") for p in PATCHES}))
def test_unbrokenContracts_pass(copy: Path, test_file: str) -> None:
    status, output = forge(copy, test_file)
    assert status == 0, output[-4_000:]
    assert ", 0 failed, 0 skipped" in output


@pytest.mark.slow
@pytest.mark.parametrize("patch", PLAYED, ids=lambda p: p.stem)
def test_brokenContracts_fail_forTheRightReason(copy: Path, patch: Path) -> None:
    apply(copy, patch)
    status, output = forge(copy, saying(patch, "Found by"))
    assert status != 0, f"nobody found {patch.name}"
    failures = [line for line in output.splitlines() if "[FAIL" in line]
    assert failures, output[-4_000:]
    reason = saying(patch, "Reason")
    assert any(reason in line for line in failures), f"wanted {reason}, got {failures}"
