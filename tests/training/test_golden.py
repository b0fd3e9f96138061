"""Numbers that no change may move by accident: a whole small job, bit for bit.

A difference means that machines of two releases would slash each other. If it is meant, the
program's description must change with it.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from protocol.training.authoring import JobSettings, author_job
from protocol.training.bundle import read_bundle
from protocol.training.data import open_dataset
from protocol.training.model import schema
from protocol.training.replay import replay_rounds
from tests.support.devices import DEVICES, device_named

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())


def write_text(folder: Path) -> None:
    """Write text that depends on nothing but this function."""
    folder.mkdir()
    words = [hashlib.sha256(bytes([i])).hexdigest()[: 2 + i % 7] for i in range(60)]
    for number in range(8):
        picks = hashlib.shake_256(bytes([number])).digest(400)
        text = " ".join(words[pick % 60] for pick in picks)
        (folder / f"{number}.py").write_text(text)


@pytest.mark.parametrize("where", DEVICES)
def test_small_job_gives_the_golden_roots(where: str, tmp_path: Path) -> None:
    device = device_named(where)
    torch.set_num_threads(1)
    write_text(tmp_path / "text")
    settings = JobSettings(
        name="golden",
        layers=2,
        width=32,
        heads=2,
        sequence_length=24,
        sequences=4,
        micro_batches=2,
        rounds=3,
        tasks=2,
        evaluation_sequences=8,
        seed=11,
    )
    authored = author_job(tmp_path / "text", tmp_path / "job", settings)
    manifest = authored.manifest
    path_of = authored.files.__getitem__
    index = authored.genesis.index_path.read_bytes()
    state = read_bundle(index, path_of, schema(manifest), manifest.genesis.root)
    dataset = open_dataset(manifest, path_of)
    found = {
        "program": manifest.program.root.hex(),
        "manifest": manifest.digest().hex(),
        "genesis_index": authored.genesis.index_digest.hex(),
        "genesis": manifest.genesis.root.hex(),
        "states": [],
        "tasks": [],
        "witnesses": [],
    }
    for done in replay_rounds(manifest, state, dataset, [[0, 1]] * 3, device=device):
        assert {tensor.device.type for tensor in done.state.values()} == {"cpu"}
        found["states"].append(done.state_root.hex())
        found["tasks"] += [result.root.hex() for result in done.tasks.values()]
        found["witnesses"] += [result.witness.hex() for result in done.tasks.values()]
    assert found == GOLDEN
