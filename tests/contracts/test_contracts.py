"""The contracts: forge's own tests, and the compiled files that the Python package ships.

Hashes are always compared; whatever needs forge asks for `npm ci` where that was not done.
"""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from protocol.chain.deploy import make_book
from protocol.chain.explorers import contracts, linked_input
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.plan import plan_market
from protocol.rules.records import ZERO32, Address

REPOSITORY = Path(__file__).parents[2]
CONTRACTS = REPOSITORY / "contracts"
SHIPPED = REPOSITORY / "protocol" / "chain" / "abi"
FORGE = CONTRACTS / "scripts" / "forge"
DEPLOYABLE = ("StakeVault", "JobMarket", "DevToken", "BlockHashBeacon", "PrevrandaoBeacon")
TOKEN = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
PLAN = plan_market(TOKEN, DEV_CONFIG)
CODE_LIMIT = 24_576
"""EIP-170: bytes of code that a chain accepts."""


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((SHIPPED / "manifest.json").read_text())


@pytest.fixture
def forge() -> Path:
    if not (CONTRACTS / "node_modules").exists():
        pytest.fail("forge is not installed: run `npm ci` in contracts/ (or `make setup`)")
    return FORGE


def artifacts(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The compiled contracts, without the compiler's input that lies beside them."""
    names = [name for name in manifest["artifacts"] if name != "standard-input.json"]
    return {name: json.loads((SHIPPED / name).read_text()) for name in names}


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
    for name in [*manifest["libraries"], *DEPLOYABLE]:
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
    assert len(compiled["immutableReferences"]) == 10
    code = compiled["deployedBytecode"][2:]
    for places in compiled["immutableReferences"].values():
        for place in places:
            start = 2 * place["start"]
            assert set(code[start : start + 2 * place["length"]]) == {"0"}


@pytest.mark.parametrize("name", ["JobMarket", "StakeVault"])
def test_every_entry_point_is_tried_from_inside_a_token(
    manifest: dict[str, Any], name: str
) -> None:
    abi = artifacts(manifest)[f"{name}.json"]["abi"]
    entries = [e for e in abi if e["type"] == "function" and e["stateMutability"] == "nonpayable"]
    tried = (CONTRACTS / "test" / "Reentrancy.t.sol").read_text()
    pushed = set(re.findall(rf"\.push\(abi\.encodeCall\((?:I{name}|Multicall)\.(\w+),", tried))
    pushed -= {"multicall"} if name == "StakeVault" else set()
    assert pushed == {e["name"] for e in entries}


def test_rebuild_gives_the_same_bytes(forge: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(CONTRACTS / "scripts" / "build"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for path in SHIPPED.glob("*.json"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), (
            f"{path.name}: run contracts/scripts/build"
        )


def test_compilers_input_is_whole_and_gives_the_shipped_code(forge: Path) -> None:
    """What block explorers get, compiled as they do it: links filled in, nothing else at hand."""
    book = make_book(31337, PLAN, TOKEN, DEV_CONFIG, ZERO32, 0)
    done = subprocess.run(
        ["node", str(CONTRACTS / "scripts" / "solc"), "--standard-json"],
        input=json.dumps(linked_input(book)),
        cwd=CONTRACTS / "scripts",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    compiled = json.loads(done.stdout)["contracts"]
    rows = {row["address"]: row for row in contracts(book)}
    assert len(rows) == len(PLAN.creations) + 1
    for creation in PLAN.creations:
        row = rows[creation.address]
        source, name = row["contract"].split(":")
        code = compiled[source][name]["evm"]["bytecode"]["object"] + row["constructor_arguments"]
        assert bytes.fromhex(code) == creation.init_code, name
    vault = rows[PLAN.vault]
    arguments = "".join(part[2:].lower().zfill(64) for part in (TOKEN, PLAN.market))
    assert vault["constructor_arguments"] == arguments
    assert vault["contract"] == "src/StakeVault.sol:StakeVault"


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
        [str(forge), "fmt", "--check", "src", "test"],
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4_000:]
