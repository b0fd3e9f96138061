"""The product's first promise: a training step has one result, whatever computes it.

One GPT-2 step (forward, backward, clip, AdamW) in fresh processes that differ in thread count,
vector instructions and GEMM route gives one root. Stock PyTorch gives several.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

REPOSITORY = Path(__file__).parents[2]

# ATEN_CPU_CAPABILITY steers ATen only; MKL and oneDNN are told to match.
CAPABILITIES = {
    "default": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "avx2": {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {},
}
THREADS = (1, 2)
ORDER = ("default", "avx2", "avx512")


def available() -> list[str]:
    here = torch.backends.cpu.get_cpu_capability().lower()
    return list(ORDER[: ORDER.index(here) + 1]) if here in ORDER else ["default"]


def run_all(routes: tuple[str, ...]) -> dict[tuple[str, int, str], dict[str, Any]]:
    keys = list(product(available(), THREADS, routes))
    configurations = [
        {
            "threads": threads,
            "route": route,
            "environment": {"ATEN_CPU_CAPABILITY": capability, **CAPABILITIES[capability]},
        }
        for capability, threads, route in keys
    ]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("ATEN_", "GRADPROOF_"))}
    finished = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "support" / "exact_step.py")],
        input=json.dumps(configurations),
        env=inherited | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    return dict(zip(keys, answers, strict=True))


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, int, str], dict[str, Any]]:
    return run_all(("float64", "int8", "stock"))


@pytest.mark.parametrize("capability", ORDER)
def test_each_process_runs_with_its_own_instructions(
    answers: dict[tuple[str, int, str], dict[str, Any]], capability: str
) -> None:
    if capability not in available():
        pytest.skip(f"this processor has no {capability}")
    mine = {key: answer for key, answer in answers.items() if key[0] == capability}
    assert len(mine) == 6
    for (_, threads, _), answer in mine.items():
        assert "error" not in answer, answer["error"]
        assert answer["capability"].lower() == capability
        assert answer["threads"] == threads


def test_exact_step_has_one_root(answers: dict[tuple[str, int, str], dict[str, Any]]) -> None:
    roots = {key: answer["root"] for key, answer in answers.items() if key[2] != "stock"}
    assert len(roots) == 4 * len(available())
    assert len(set(roots.values())) == 1, roots


def test_exact_step_has_the_recorded_root(
    answers: dict[tuple[str, int, str], dict[str, Any]],
) -> None:
    # A golden value: only a deliberate change of the profile may change it.
    recorded = "3498c9804303766f8e2ad61bba3d1f83f17d63484b63dc2dfb2eb51d74d2192b"
    assert answers["default", 1, "float64"]["root"] == recorded


def test_stock_step_has_several_roots(
    answers: dict[tuple[str, int, str], dict[str, Any]],
) -> None:
    if len(available()) == 1:
        pytest.skip("this processor has one set of vector instructions")
    roots = {answer["root"] for key, answer in answers.items() if key[2] == "stock"}
    assert len(roots) > 1, "stock PyTorch agreed with itself: this test no longer shows anything"
