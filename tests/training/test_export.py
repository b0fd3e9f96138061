"""The exported model is an ordinary one: stock transformers loads it and agrees with the state."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from protocol.training.authoring import JobSettings, author_job
from protocol.training.bundle import read_bundle
from protocol.training.errors import DataError, ModelError
from protocol.training.export import export_model, generate
from protocol.training.model import parameters_of, schema, skeleton


@pytest.fixture(scope="module")
def exported(job: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_model(job.manifest, job.state, folder)
    return folder


def test_exported_model_gives_the_same_logits(job: Any, exported: Path) -> None:
    stock = AutoModelForCausalLM.from_pretrained(exported, attn_implementation="eager").eval()
    tokens = job.dataset.batch(0, 0, 0)[:, :-1]
    own = skeleton(job.manifest)
    with torch.no_grad():
        expected = own.forward(
            parameters_of(job.manifest, job.state), tokens, own.constants(tokens.shape[1])
        )
        assert torch.equal(stock(tokens).logits, expected)
    for name, tensor in parameters_of(job.manifest, job.state).items():
        assert torch.equal(stock.state_dict()[name], tensor)


def test_exported_tokenizer_is_the_one_of_the_job(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    text = "def f():\n\treturn 'é€😀'  \r\n"
    assert tokenizer.encode(text) == list(text.encode())
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.eos_token_id == 256


def test_generate_continues_a_prompt(exported: Path) -> None:
    text = generate(exported, "def ", 20, seed=1)
    assert 0 < len(text) <= 20
    assert generate(exported, "def ", 20, seed=1) == text
    assert generate(exported, "", 3)


def test_bpe_job_exports_with_its_tokenizer(
    text_folder: Path, settings: JobSettings, tmp_path: Path
) -> None:
    bpe = dataclasses.replace(settings, tokenizer="bpe", bpe_vocabulary=300, rounds=1)
    authored = author_job(text_folder, tmp_path / "job", bpe)
    manifest = authored.manifest
    assert manifest.tokenizer.cid is not None
    file = authored.files[manifest.tokenizer.cid].read_bytes()
    index = authored.genesis.index_path.read_bytes()
    state = read_bundle(index, authored.files.__getitem__, schema(manifest), manifest.genesis.root)
    with pytest.raises(DataError, match="BPE"):
        export_model(manifest, state, tmp_path / "out")
    export_model(manifest, state, tmp_path / "out", file)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.decode(tokenizer.encode("return None\n")) == "return None\n"
    assert generate(tmp_path / "out", "def ", 8)


def test_state_of_another_job_is_not_exported(job: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        export_model(job.manifest, {"step": torch.tensor(0)}, tmp_path)
