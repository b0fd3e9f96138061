"""The contracts: forge's own tests, and the compiled files that the Python package ships.

Hashes are always compared; whatever needs forge asks for `npm ci` where that was not done.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
CONTRACTS = REPOSITORY / "contracts"
SHIPPED = REPOSITORY / "protocol" / "chain" / "abi"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"
CODE_LIMIT = 24_576
"""EIP-170: bytes of code that a chain accepts."""


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((SHIPPED / "manifest.json").read_text())


@pytest.fixture
def forge() -> Path:
    if not FORGE.exists():
        pytest.fail("forge is not installed: run `npm ci` in contracts/ (or `make setup`)")
    return FORGE


def artifacts(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: json.loads((SHIPPED / name).read_text()) for name in manifest["artifacts"]}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_shipped_files_match_the_manifest(manifest: dict[str, Any]) -> None:
    found = {path.name for path in SHIPPED.glob("*.json")} - {"manifest.json"}
    assert found == set(manifest["artifacts"])
    for name, digest in manifest["artifacts"].items():
        assert sha256(SHIPPED / name) == digest, f"{name} is not what was compiled"


def test_sources_match_the_manifest(manifest: dict[str, Any]) -> None:
    found = {path.relative_to(CONTRACTS).as_posix() for path in (CONTRACTS / "src").rglob("*.sol")}
    assert found == set(manifest["sources"]), "run contracts/scripts/build"
    for name, digest in manifest["sources"].items():
        assert sha256(CONTRACTS / name) == digest, f"{name} changed: run contracts/scripts/build"


def test_code_fits_on_a_chain(manifest: dict[str, Any]) -> None:
    for name, compiled in artifacts(manifest).items():
        size = (len(compiled["deployedBytecode"]) - 2) // 2
        assert 0 < size < CODE_LIMIT, f"{name} has {size} bytes"


def test_libraries_come_before_whatever_links_them(manifest: dict[str, Any]) -> None:
    known: set[str] = set()
    compiled = artifacts(manifest)
    for name in [*manifest["libraries"], "StakeVault", "JobMarket", "DevToken"]:
        assert set(compiled[f"{name}.json"]["linkReferences"]) <= known
        known.add(name)
    assert len(known) == len(compiled)


def test_link_references_point_at_placeholders(manifest: dict[str, Any]) -> None:
    for compiled in artifacts(manifest).values():
        code = compiled["bytecode"][2:]
        for places in compiled["linkReferences"].values():
            for place in places:
                start, length = 2 * place["start"], 2 * place["length"]
                assert code[start : start + 3] == "__$"
                code = code[:start] + "0" * length + code[start + length :]
        bytes.fromhex(code)  # nothing else is left to link


def test_immutables_are_where_the_code_has_zeros(manifest: dict[str, Any]) -> None:
    compiled = artifacts(manifest)["JobMarket.json"]
    assert len(compiled["immutableReferences"]) == 9
    code = compiled["deployedBytecode"][2:]
    for places in compiled["immutableReferences"].values():
        for place in places:
            start = 2 * place["start"]
            assert set(code[start : start + 2 * place["length"]]) == {"0"}


def test_rebuild_gives_the_same_bytes(forge: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(CONTRACTS / "scripts" / "build"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for path in SHIPPED.glob("*.json"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), (
            f"{path.name}: run contracts/scripts/build"
        )


@pytest.mark.slow
def test_forge_tests_pass(forge: Path) -> None:
    done = subprocess.run(
        [str(forge), "test"],
        cwd=CONTRACTS,
        env={**os.environ, "FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert ", 0 failed, 0 skipped" in done.stdout


def test_solidity_is_formatted(forge: Path) -> None:
    done = subprocess.run(
        [str(forge), "fmt", "--check", "src", "test", "script"],
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4_000:]
