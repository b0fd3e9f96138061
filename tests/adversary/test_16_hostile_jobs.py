"""Row 16: a requester whose files are not what they should be. Refused, and life goes on."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coordinator import devnet as network
from coordinator.cast import Stage, make_actor, put_up_bonds
from coordinator.faucet import fund
from coordinator.post import publish, send_post
from protocol.chain.client import Chain
from protocol.chain.deployment import Deployment
from protocol.chain.indexer import Indexer
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.role.job_files import JobFiles, ManifestDiffers
from protocol.role.vetting import FIRST_PAUSE, Vetting
from protocol.rules.amounts import UNITS
from protocol.rules.economics import required_escrow
from protocol.rules.errors import GradproofError
from protocol.rules.history import JobHistory
from protocol.rules.records import JobId, Terms
from protocol.storage.cache import Cache
from protocol.storage.errors import StorageError
from protocol.storage.node import start_node
from protocol.storage.store import ContentStore, open_store
from protocol.training.authoring import Authored, JobSettings, author_job
from protocol.training.errors import BundleError, ManifestError
from tests.support.rounds import address, digest, make_terms
from tests.support.sights import sight_of
from tests.support.small_jobs import TEXTS, TRAINING


@pytest.fixture(scope="module")
def authored(tmp_path_factory: pytest.TempPathFactory) -> Authored:
    """An honest job, for comparison."""
    return author_job(TEXTS, tmp_path_factory.mktemp("job"), JobSettings(**TRAINING))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContentStore]:
    """A real content store."""
    with (
        start_node(tmp_path_factory.mktemp("node")) as node,
        open_store([node.api_url]) as opened,
    ):
        yield opened


@pytest.fixture
def files(store: ContentStore, tmp_path: Path) -> JobFiles:
    return JobFiles(store, Cache(tmp_path / "cache", 1 << 30))


def terms_of(authored: Authored, manifest: bytes, **changes: object) -> Terms:
    """The terms that this manifest would be posted with."""
    fields: dict[str, object] = {
        "manifest": hashlib.sha256(manifest).digest(),
        "genesis_root": authored.genesis.root,
        "genesis_cid": authored.genesis.index_digest,
        "rounds": TRAINING["rounds"],
        "tasks": TRAINING["tasks"],
        "checks": 2,
    }
    return make_terms(**{**fields, **changes})


def history(terms: Terms, job: int = 1) -> JobHistory:
    return JobHistory(JobId(job), address(1), 1, terms, 1, terms.genesis_root, terms.genesis_cid)


def is_fit(vetting: Vetting, past: JobHistory) -> bool | None:
    """What comes of one tick."""
    vetting.ask(sight_of(past))
    return vetting.is_fit(past)


def altered(authored: Authored, change: Callable[[dict[str, object]], object]) -> bytes:
    """The honest manifest with one thing changed, still canonical JSON."""
    document = json.loads(authored.manifest_path.read_bytes())
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


HOSTILE: dict[str, Callable[[Authored], bytes]] = {
    "unknown field": lambda a: altered(a, lambda d: d.update(code="import os")),
    "unknown field inside": lambda a: altered(a, lambda d: d["model"].update(hook="x")),  # type: ignore[attr-defined]
    "missing field": lambda a: altered(a, lambda d: d.pop("data")),
    "a model of 2^40 weights": lambda a: altered(a, lambda d: d["model"].update(width=1 << 40)),  # type: ignore[attr-defined]
    "no sequences": lambda a: altered(a, lambda d: d["batch"].update(sequences=0)),  # type: ignore[attr-defined]
    "a file name": lambda a: altered(a, lambda d: d["genesis"].update(cid="../../etc/passwd")),  # type: ignore[attr-defined]
    "NaN": lambda a: a.manifest_path.read_bytes().replace(b'"order_seed":0', b'"order_seed":NaN'),
    "another byte form": lambda a: json.dumps(json.loads(a.manifest_path.read_bytes())).encode(),
    "pickle": lambda _: b"\x80\x04cposix\nsystem\n(X\x02\x00\x00\x00idtR.",
    "nesting": lambda _: deep(100_000),
    "nothing": lambda _: b"{}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_16_hostileManifest_isRefusedByVetting(
    name: str, authored: Authored, store: ContentStore, files: JobFiles
) -> None:
    manifest = HOSTILE[name](authored)
    assert manifest != authored.manifest_path.read_bytes()
    store.publish_bytes(manifest)
    past = history(terms_of(authored, manifest))
    with pytest.raises(ManifestError):
        files.manifest(past)
    assert is_fit(Vetting(files), past) is False


@pytest.mark.parametrize(
    "change",
    [{"rounds": 3}, {"tasks": 4}, {"genesis_root": digest(1)}, {"genesis_cid": digest(2)}],
)
def test_16_manifestOfOtherWork_isRefused(
    change: dict[str, object], authored: Authored, store: ContentStore, files: JobFiles
) -> None:
    store.publish(authored.manifest_path)
    past = history(terms_of(authored, authored.manifest_path.read_bytes(), **change))
    with pytest.raises(ManifestDiffers):
        files.manifest(past)
    assert is_fit(Vetting(files), past) is False


def test_16_otherEditionOfTheProgram_isRefused(
    authored: Authored, store: ContentStore, files: JobFiles
) -> None:
    manifest = altered(authored, lambda d: d["program"].update(root="ab" * 32))  # type: ignore[attr-defined]
    store.publish_bytes(manifest)
    assert is_fit(Vetting(files), history(terms_of(authored, manifest))) is False


def test_16_honestManifest_isFit(authored: Authored, store: ContentStore, files: JobFiles) -> None:
    store.publish(authored.manifest_path)
    past = history(terms_of(authored, authored.manifest_path.read_bytes()))
    assert is_fit(Vetting(files), past)


def test_16_missingManifest_isAskedForAgainEverMoreRarely(
    authored: Authored, store: ContentStore, files: JobFiles
) -> None:
    manifest = altered(authored, lambda d: d.update(name="arrives late"))
    past = history(terms_of(authored, manifest))
    with pytest.raises(StorageError):
        files.manifest(past)
    now = [100.0]
    vetting = Vetting(files, clock=lambda: now[0])
    assert not is_fit(vetting, past)
    now[0] += FIRST_PAUSE
    assert not is_fit(vetting, past)
    store.publish_bytes(manifest)
    now[0] += 2 * FIRST_PAUSE - 0.1
    assert not is_fit(vetting, past), "the second pause is twice as long"
    now[0] += 0.1
    assert is_fit(vetting, past)


# --- results and states ---


def test_16_resultThatIsNoBundle_isNotHeld(
    authored: Authored, store: ContentStore, files: JobFiles
) -> None:
    store.publish(authored.manifest_path)
    past = history(terms_of(authored, authored.manifest_path.read_bytes()))
    for garbage in (b"", b"{}", b"\x80\x04.", b"[" * 200_000, b'{"shards":[],"tensors":{}}'):
        store.publish_bytes(garbage)
        with pytest.raises(BundleError):
            files.result(past, digest("root"), hashlib.sha256(garbage).digest())


def test_16_stateInPlaceOfAResult_isRefused(
    authored: Authored, store: ContentStore, files: JobFiles
) -> None:
    publish(store, authored, lambda _what, _done, _total: None)
    past = history(terms_of(authored, authored.manifest_path.read_bytes()))
    genesis = authored.genesis
    assert files.state(past, genesis.root, genesis.index_digest)
    with pytest.raises(GradproofError):
        files.result(past, genesis.root, genesis.index_digest)


def test_16_bundleUnderAnotherRoot_isRefused(
    authored: Authored, store: ContentStore, files: JobFiles
) -> None:
    publish(store, authored, lambda _what, _done, _total: None)
    past = history(terms_of(authored, authored.manifest_path.read_bytes()))
    with pytest.raises(BundleError):
        files.state(past, digest("another root"), authored.genesis.index_digest)


# --- a real worker ---


@pytest.mark.slow
def test_16_worker_refusesTheHostileJobAndJoinsTheHonestOne(
    authored: Authored, tmp_path: Path
) -> None:
    net = network.start(tmp_path / "devnet", block_time=0.3)
    stage = Stage(tmp_path, net)
    try:
        chain = Chain(net.rpc_url, Deployment.read(Path(net.deployment)))
        requester, worker = make_actor(tmp_path, "requester"), make_actor(tmp_path, "worker")
        put_up_bonds(chain, tmp_path, [worker])
        fund(chain, tmp_path, [(requester.address, 10 * UNITS)])
        sender = TxSender(chain, requester.owner, open_database(None))
        bad = altered(authored, lambda d: d.update(code="import os"))
        honest = authored.manifest_path.read_bytes()
        with open_store([net.ipfs_api]) as store:
            publish(store, authored, lambda _what, _done, _total: None)
            store.publish_bytes(bad)
        jobs = []
        for manifest in (bad, hashlib.sha256(b"hidden").digest(), honest):
            terms = terms_of(authored, manifest)
            # Time to try a task before the job counts as one that nobody wants.
            terms = dataclasses.replace(
                terms,
                coordinator=worker.operator.address,
                windows=dataclasses.replace(terms.windows, waiting=600),
            )
            jobs.append(send_post(chain, sender, terms, required_escrow(terms)))
        hostile, hidden, good = jobs
        stage.start(worker, "worker", "run", "--slots", "1")
        indexer = Indexer(chain, open_database(None))
        until = time.monotonic() + 90
        while not indexer.sync().jobs[good].roster:
            stage.check()
            assert time.monotonic() < until, "it never joined"
            time.sleep(0.2)
        assert not indexer.history.jobs[hostile].roster
        assert not indexer.history.jobs[hidden].roster
        log = stage.running[0].log.read_text()
        assert log.count("job refused") == 1
        assert "manifest not here" in log
    finally:
        stage.stop()
        network.stop(tmp_path / "devnet")
