"""Models and first states: schemas without storage, the same bits from a seed."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
import torch

from protocol.exact import result_root
from protocol.training import shapes
from protocol.training.authoring import JobSettings, adamw_table, author_job, learning_rate
from protocol.training.errors import ManifestError, ModelError
from protocol.training.genesis import genesis_state
from protocol.training.model import (
    check_tensors,
    parameter_shapes,
    parameters_of,
    schema,
    skeleton,
)


def test_skeleton_holds_no_storage(job: Any) -> None:
    module = skeleton(job.manifest).module
    assert {p.device.type for p in module.parameters()} == {"meta"}
    assert skeleton(job.manifest) is skeleton(job.manifest)


def test_schema_counts_a_tied_weight_once(job: Any) -> None:
    names = schema(job.manifest)
    assert "param.transformer.wte.weight" in names
    assert not [name for name in names if "lm_head" in name]
    assert names["step"] == (torch.int64, ())
    assert len(names) == 3 * len(dict(skeleton(job.manifest).module.named_parameters())) + 2


@pytest.mark.parametrize("changes", [{}, {"layers": 5}, {"width": 24, "heads": 3}])
def test_shapes_are_those_of_the_library(job: Any, changes: dict[str, int]) -> None:
    source = dataclasses.replace(
        job.manifest, model=dataclasses.replace(job.manifest.model, **changes)
    )
    built = skeleton(source).module.named_parameters()
    assert list(parameter_shapes(source).items()) == sorted((n, tuple(p.shape)) for n, p in built)


def test_library_that_builds_another_model_is_refused(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = shapes.SHAPES["gpt2"]
    bias = "transformer.ln_f.bias"
    monkeypatch.setitem(shapes.SHAPES, "gpt2", lambda m: known(m) | {bias: (m.width + 1,)})
    other = dataclasses.replace(job.manifest.model, vocabulary=300)
    with pytest.raises(ModelError, match=r"builds another gpt2.*ln_f\.bias"):
        skeleton(dataclasses.replace(job.manifest, model=other))


READER = """
import sys
import verifier.service, worker.service, coordinator.service
from protocol.training.model import result_schema, schema
from protocol.training.model_config import Gpt2Config

class Source:
    model = Gpt2Config(300, 16, 16, 2, 2, "gelu_new", 1e-5, 0.25)

assert schema(Source) and result_schema(Source)
sys.exit("transformers" in sys.modules)
"""


def test_roles_read_results_without_loading_a_model_library() -> None:
    """It takes seconds to load, which a gatherer of a short window does not have."""
    assert subprocess.run([sys.executable, "-c", READER], timeout=120, check=False).returncode == 0


def test_genesis_is_the_same_for_a_seed(job: Any) -> None:
    first, again = genesis_state(job.manifest, 7), genesis_state(job.manifest, 7)
    assert result_root(first) == result_root(again)
    assert result_root(genesis_state(job.manifest, 8)) != result_root(first)
    check_tensors(first, schema(job.manifest), "state")
    loss = job.state["validation_loss"]
    assert result_root(first | {"validation_loss": loss}) == job.manifest.genesis.root


def test_genesis_looks_normal(job: Any) -> None:
    wide = dataclasses.replace(job.manifest.model, width=256, heads=2)
    source = dataclasses.replace(job.manifest, model=wide)
    values = genesis_state(source, 0)["param.transformer.h.0.mlp.c_fc.weight"].double()
    assert float(values.mean()) == pytest.approx(0, abs=2e-4)
    assert float(values.std()) == pytest.approx(0.02, rel=0.01)
    fourth = ((values / values.std()) ** 4).mean()
    assert float(fourth) == pytest.approx(2.9, abs=0.1)


def test_state_of_another_job_is_refused(job: Any) -> None:
    state = job.state
    name = "param.transformer.ln_f.bias"
    for other in (
        {n: t for n, t in state.items() if n != name},
        state | {"param.more": torch.zeros(1)},
        state | {name: torch.zeros(17)},
        state | {name: torch.zeros(16, dtype=torch.float64)},
    ):
        with pytest.raises(ModelError):
            parameters_of(job.manifest, other)


def test_host_scalar_comes_from_the_manifest(job: Any) -> None:
    other = dataclasses.replace(job.manifest.model, attention_scale=0.25)
    blocks = skeleton(dataclasses.replace(job.manifest, model=other)).layers
    scales = [block.attn.scaling for block in blocks if hasattr(block, "attn")]
    assert scales == [0.25, 0.25]


def test_job_is_the_same_for_equal_settings(
    job: Any, text_folder: Any, settings: JobSettings, tmp_path: Any
) -> None:
    again = author_job(text_folder, tmp_path, settings)
    assert again.manifest.digest() == job.manifest.digest()
    assert again.files.keys() == job.authored.files.keys()


def test_every_published_file_has_its_cid(job: Any) -> None:
    from protocol.storage.unixfs import cid_of_file

    assert len(job.authored.files) == 5
    for cid, path in job.authored.files.items():
        assert cid_of_file(path) == cid


@pytest.mark.parametrize(
    "change",
    [{"heads": 3}, {"rounds": 0}, {"tasks": 300}, {"evaluation_sequences": 6}, {"b": 15}],
)
def test_settings_that_make_no_job_are_refused(
    text_folder: Any, settings: JobSettings, tmp_path: Any, change: Any
) -> None:
    with pytest.raises(ManifestError):
        author_job(text_folder, tmp_path, dataclasses.replace(settings, **change))


def test_learning_rate_rises_and_falls() -> None:
    plan = JobSettings(rounds=20, warmup=4, learning_rate=1.0, final_rate=0.1)
    rates = [learning_rate(plan, step) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert len(adamw_table(plan)) == 20
