"""The content store as a tool: real processes, real nodes, exit codes and sentences."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.devnet import Devnet
from protocol.chain.deployment import Deployment
from protocol.role.pins import Pins
from protocol.rules.records import JobId
from protocol.storage.cid import Cid
from protocol.storage.node import NodeProcess, start_node
from protocol.storage.store import open_store
from protocol.storage.unixfs import cid_of_bytes, cid_of_file
from tests.support.command_line import Gradproof

MIB = 1024 * 1024
NOBODYS = str(cid_of_bytes(b"nobody has published this"))
Store = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-m", "coordinator.cli.main", "store"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A fresh machine: a home, and nothing configured."""
    kept = {name: value for name, value in os.environ.items() if "GRADPROOF_" not in name}
    return kept | {"GRADPROOF_HOME": str(tmp_path / "home")}


@pytest.fixture
def run(environment: dict[str, str]) -> Store:
    """Run `gradproof store ...` as a process; keywords are variables of its environment."""

    def run_store(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *map(str, arguments)]
        changed = environment | variables
        return subprocess.run(command, env=changed, capture_output=True, text=True, timeout=120)

    return run_store


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NodeProcess]]:
    """Two daemons that know nothing of each other."""
    with (
        start_node(tmp_path_factory.mktemp("a")) as a,
        start_node(tmp_path_factory.mktemp("b")) as b,
    ):
        yield [a, b]


def said(done: subprocess.CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # an object


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_freshMachine_addsGetsAndNamesFilesTheSame(run: Store, tmp_path: Path) -> None:
    """Nothing is configured and nothing runs: each command starts the home's node for itself."""
    big, small, out = tmp_path / "big", tmp_path / "small", tmp_path / "new" / "out"
    big.write_bytes(os.urandom(3 * MIB + 1))
    small.write_bytes(b"")
    rows = said(run("add", big, small, "--json"))["added"]
    assert [(row["cid"], row["bytes"]) for row in rows] == [
        (str(cid_of_file(big)), 3 * MIB + 1),
        (str(cid_of_file(small)), 0),
    ]
    got = said(run("get", rows[0]["cid"], out, "--json"))
    assert out.read_bytes() == big.read_bytes()
    assert got["fetched bytes"] > got["bytes"] == 3 * MIB + 1
    again = said(run("get", rows[0]["cid"], out, "--json"))
    assert again["fetched bytes"] == 0
    plain = run("add", small)
    assert plain.returncode == 0
    assert rows[1]["cid"] in plain.stdout


def test_interruptedGet_fetchesOnlyWhatIsMissing(run: Store, tmp_path: Path) -> None:
    data, out = os.urandom(8 * MIB), tmp_path / "out"
    (tmp_path / "file").write_bytes(data)
    (cid,) = (row["cid"] for row in said(run("add", tmp_path / "file", "--json"))["added"])
    (tmp_path / "out.part").write_bytes(data[: 5 * MIB])
    got = said(run("get", cid, out, "--json"))
    assert got["resumed bytes"] == 5 * MIB
    assert 3 * MIB < got["fetched bytes"] < 3.01 * MIB
    assert out.read_bytes() == data


def test_severalDaemonsAndGateways_areAllAsked(
    run: Store, nodes: list[NodeProcess], tmp_path: Path
) -> None:
    first, second = nodes
    dead = "http://127.0.0.1:9"
    files = {name: tmp_path / name for name in ("one", "two")}
    for path in files.values():
        path.write_bytes(os.urandom(2 * MIB))
    one, two = (
        said(run("add", files[name], "--json", GRADPROOF_IPFS_API=api))["added"][0]["cid"]
        for name, api in (("one", first.api_url), ("two", f"{dead}, {second.api_url}"))
    )
    both = {
        "GRADPROOF_IPFS_API": f"{dead},{first.api_url}",
        "GRADPROOF_IPFS_GATEWAYS": second.gateway_url,
    }
    for cid, name in ((one, "one"), (two, "two")):
        said(run("get", cid, tmp_path / f"{name}.out", "--json", **both))
        assert (tmp_path / f"{name}.out").read_bytes() == files[name].read_bytes()
    rows = said(run("stat", two, "--json", **both))["sources"]
    assert [(row["name"], row["state"], row["pinned"]) for row in rows] == [
        (dead, "silent", False),
        (first.api_url, "missing", False),
        (second.gateway_url, "here", False),
    ]
    gateway = {"GRADPROOF_IPFS_GATEWAYS": second.gateway_url}
    said(run("get", two, tmp_path / "by-gateway", "--json", **gateway))
    assert (tmp_path / "by-gateway").read_bytes() == files["two"].read_bytes()
    unreached = run("add", files["one"], GRADPROOF_IPFS_API=dead)
    assert dead in complaint(unreached)


def test_statOfWhatNobodyHas_endsInOne(run: Store, nodes: list[NodeProcess]) -> None:
    found = said(run("stat", NOBODYS, "--json", GRADPROOF_IPFS_API=nodes[0].api_url), code=1)
    assert [row["state"] for row in found["sources"]] == ["missing"]
    assert found["bytes"] is None


def test_pinsDecide_whatGarbageCollectionTakes(
    run: Store, environment: dict[str, str], tmp_path: Path
) -> None:
    with start_node(tmp_path / "node", grace=0.0) as node:
        environment["GRADPROOF_IPFS_API"] = node.api_url
        for name in ("kept", "gone"):
            (tmp_path / name).write_bytes(os.urandom(2 * MIB))
        added = said(run("add", tmp_path / "kept", tmp_path / "gone", "--json"))["added"]
        kept, gone = (row["cid"] for row in added)
        assert said(run("pin", gone, "--remove", "--json")) == {"unpinned": gone}
        assert said(run("gc", "--json"))["daemons"] == [{"name": node.api_url, "blocks": 3}]
        assert said(run("stat", kept, "--json"))["sources"][0]["pinned"]
        assert run("stat", gone).returncode == 1
        assert said(run("stat", "--json"))["daemons"][0]["blocks"] == 3
        assert gone in complaint(run("pin", gone))
        assert said(run("pin", kept, "--expires-in", 60, "--json")) == {"pinned": kept}


def test_pinOfAJob_isNotRemovedByHand(run: Store, tmp_path: Path) -> None:
    cid = cid_of_bytes(b"data of a job")
    Pins(tmp_path / "home" / "pins.sqlite", "1/0x01").hold(JobId(4), cid, [], stays=True)
    assert "gradproof job forget 4" in complaint(run("pin", cid, "--remove"))


def test_servedStore_isFoundByTheCommandsOfItsHome(
    run: Store, environment: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "file").write_bytes(os.urandom(MIB + 5))
    serving = subprocess.Popen(
        [*COMMAND, "serve", "--json"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert serving.stdout is not None
        lines = iter(serving.stdout.readline, "}\n")
        fields = json.loads("".join(lines) + "}")
        (row,) = said(run("add", tmp_path / "file", "--json"))["added"]
        (source,) = said(run("stat", row["cid"], "--json"))["sources"]
        assert (source["name"], source["pinned"]) == (fields["RPC"], True)
        gateway = {
            "GRADPROOF_HOME": str(tmp_path / "x"),
            "GRADPROOF_IPFS_GATEWAYS": fields["gateway"],
        }
        assert run("get", row["cid"], tmp_path / "out", **gateway).returncode == 0
        assert "served by another process" in complaint(run("serve"))
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(30) == 0
        assert not (home / "store.json").exists()
        # What was kept is there the next time, whoever starts the node.
        assert said(run("stat", row["cid"], "--json"))["bytes"] == MIB + 5
    finally:
        serving.kill()
        serving.communicate()


def test_nodeThatDies_endsServing(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with subprocess.Popen(
        [*COMMAND, "serve"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        assert serving.stdout is not None
        for line in serving.stdout:
            if line.startswith("gateway"):
                break
        children = Path(f"/proc/{serving.pid}/task/{serving.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        _, err = serving.communicate(timeout=30)
    assert serving.returncode == 2
    assert "ended by itself" in err
    assert not (tmp_path / "home" / "store.json").exists()


def test_whatCannotBeDone_isSaidInSentences(
    run: Store, nodes: list[NodeProcess], tmp_path: Path
) -> None:
    api = {"GRADPROOF_IPFS_API": nodes[0].api_url}
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    (cid,) = (row["cid"] for row in said(run("add", mine, "--json", **api))["added"])
    mine.write_bytes(b"changed")
    assert "is a folder" in complaint(run("add", tmp_path, **api))
    assert "there is no file" in complaint(run("add", tmp_path / "none", **api))
    assert "holds something else" in complaint(run("get", cid, mine, **api))
    assert mine.read_bytes() == b"changed"
    assert "holds something else" in complaint(run("get", cid, tmp_path, **api))
    assert "over the limit of 3" in complaint(run("get", cid, tmp_path / "x", "--limit", 3, **api))
    assert "cannot be had" in complaint(run("get", NOBODYS, tmp_path / "x", **api))
    assert "base32" in complaint(run("get", "QmYwAPJzv5CZsnAzt8auVZRn", tmp_path / "x", **api))
    assert "cannot be written" in complaint(run("get", cid, mine / "below", **api))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("x")]


def test_fullDisk_isSaidInASentence(run: Store, nodes: list[NodeProcess], tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk without room: the same write fails."""
    api = {"GRADPROOF_IPFS_API": nodes[0].api_url}
    (tmp_path / "big").write_bytes(os.urandom(MIB))
    (row,) = said(run("add", tmp_path / "big", "--json", **api))["added"]
    small = ["bash", "-c", 'ulimit -f 64; exec "$@"', "_", *COMMAND]
    done = subprocess.run(
        [*small, "get", row["cid"], str(tmp_path / "out")],
        env={**os.environ, **api, "GRADPROOF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "cannot be written" in complaint(done)
    assert not (tmp_path / "out").exists()


def test_statOfTheCache_countsItsFiles(
    run: Store, nodes: list[NodeProcess], tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    whole, half = folder / "files", folder / "partial"
    for made in (whole, half):
        made.mkdir(parents=True)
    (whole / str(cid_of_bytes(b"good"))).write_bytes(b"good")
    (whole / str(cid_of_bytes(b"was good"))).write_bytes(b"spoilt")
    (half / "left.part").write_bytes(b"half")
    api = {"GRADPROOF_IPFS_API": nodes[0].api_url, "GRADPROOF_CACHE": str(folder)}
    before = said(run("stat", "--json", **api))
    assert (before["cache files"], before["cache bytes"]) == (2, 14)
    assert said(run("gc", "--json", **api))["cache files removed"] == 2
    after = said(run("stat", "--json", GRADPROOF_CACHE_BYTES="1000", **api))
    assert (after["cache files"], after["cache bytes"], after["cache limit"]) == (1, 4, 1000)
    assert Cid.parse(next(whole.iterdir()).name) == cid_of_bytes(b"good")


def test_jobThatNobodyPosted_cannotBeForgotten(refused: Callable[..., str]) -> None:
    assert "there is no job 99" in refused("job", "forget", 99)


def test_forgetWithoutAskingTheChain_letsGoOfWhatTheHomeKept(
    gradproof: Gradproof, home: Path, devnet: Devnet
) -> None:
    """A chain that has been reset, or is gone, keeps nobody's disk full."""
    deployment = Deployment.read(Path(devnet.deployment))
    data = os.urandom(100)
    cid = cid_of_bytes(data)
    pins = Pins(home / "pins.sqlite", f"{deployment.chain_id}/{deployment.market}")
    pins.hold(JobId(98), cid, [], stays=True)
    with open_store([devnet.ipfs_api]) as store:
        store.publish_bytes(data)
        assert store.find(cid)[0].pinned
        done = gradproof("job", "forget", 98, "--force", "--json")
        assert json.loads(done.out) == {"forgotten": 98, "files unpinned": 1}
        assert not store.find(cid)[0].pinned
