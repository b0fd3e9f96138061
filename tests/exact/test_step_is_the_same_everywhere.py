"""The product's first promise: a training step has one result, whatever computes it.

One step of every family (forward, backward, clip, AdamW) runs in fresh processes that differ in
vector instructions, thread count, GEMM route and native kernels, and gives the recorded root. Stock
PyTorch gives several. By default each family meets every route, every instruction set and every
thread count at least once; GRADPROOF_MATRIX=full runs the whole product.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from protocol.exact import routes
from tests.exact.test_families import ROOTS
from tests.support.exact_step import LARGER

REPOSITORY = Path(__file__).parents[2]

# A golden value: only a deliberate change of the profile may change it.
RECORDED = ROOTS | {LARGER: "3498c9804303766f8e2ad61bba3d1f83f17d63484b63dc2dfb2eb51d74d2192b"}
FAMILIES = tuple(RECORDED)

# ATEN_CPU_CAPABILITY steers ATen only; MKL and oneDNN are told to match.
CAPABILITIES = {
    "default": {
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
    "avx2": {
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "MKL_CBWR": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "avx512": {},
}
THREADS = (1, 2)
ORDER = tuple(CAPABILITIES)


@dataclass(frozen=True, slots=True)
class Place:
    """How one process computes."""

    capability: str
    threads: int
    route: str

    def configuration(self, families: list[str]) -> dict[str, Any]:
        # A kernel route runs with the row kernels of its level, the others without any.
        level = self.route.removeprefix("kernels-") if self.route.startswith("kernels-") else "off"
        return {
            "threads": self.threads,
            "route": self.route,
            "families": families,
            "environment": {
                "ATEN_CPU_CAPABILITY": self.capability,
                "GRADPROOF_EXACT_KERNELS": level,
                **CAPABILITIES[self.capability],
            },
        }


def capabilities() -> list[str]:
    here = torch.backends.cpu.get_cpu_capability().lower()
    return list(ORDER[: ORDER.index(here) + 1]) if here in ORDER else ["default"]


def plan() -> dict[Place, list[str]]:
    """Which families run where."""
    names = [name for name, passes in routes().items() if passes]
    if os.environ.get("GRADPROOF_MATRIX") == "full":
        return {Place(*key): list(FAMILIES) for key in product(capabilities(), THREADS, names)}
    found: dict[Place, list[str]] = defaultdict(list)
    for i, family in enumerate(FAMILIES):
        for j, name in enumerate(names):
            turn = (i + j) % len(capabilities())
            # Where there is one capability, its turn alone would tie the threads to the route.
            threads = THREADS[(turn + j + (i if len(capabilities()) == 1 else 0)) % 2]
            found[Place(capabilities()[turn], threads, name)].append(family)
    return found


def run_all(work: dict[Place, list[str]]) -> dict[Place, dict[str, Any]]:
    configurations = [place.configuration(families) for place, families in work.items()]
    foreign = ("ATEN_", "GRADPROOF_", "MKL_", "ONEDNN_")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    finished = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "support" / "exact_step.py")],
        input=json.dumps(configurations),
        env=inherited | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    return dict(zip(work, answers, strict=True))


@pytest.fixture(scope="module")
def answers() -> dict[Place, dict[str, Any]]:
    return run_all(plan())


@pytest.mark.slow
@pytest.mark.timeout(3600 if "GRADPROOF_MATRIX" in os.environ else 400)
def test_every_family_has_its_recorded_root_everywhere(
    answers: dict[Place, dict[str, Any]],
) -> None:
    for place, answer in answers.items():
        assert "error" not in answer, (place, answer["error"])
        wrong = {n: root for n, root in answer["roots"].items() if root != RECORDED[n]}
        assert not wrong, place


@pytest.mark.slow
def test_each_process_runs_as_it_was_told(answers: dict[Place, dict[str, Any]]) -> None:
    for place, answer in answers.items():
        told = (place.capability, place.threads, place.route)
        assert (answer["capability"].lower(), answer["threads"], answer["served"]) == told


@pytest.mark.slow
def test_every_family_meets_each_route_instruction_set_and_thread_count(
    answers: dict[Place, dict[str, Any]],
) -> None:
    passing = {name for name, passes in routes().items() if passes}
    for family in FAMILIES:
        met = [place for place, answer in answers.items() if family in answer["roots"]]
        assert {place.route for place in met} == passing
        assert {place.capability for place in met} == set(capabilities())
        assert {place.threads for place in met} == set(THREADS)


def test_stock_step_has_several_roots() -> None:
    if len(capabilities()) == 1:
        pytest.skip("this processor has one set of vector instructions")
    work = {Place(*key, "stock"): [LARGER] for key in product(capabilities(), THREADS)}
    roots = {answer["roots"][LARGER] for answer in run_all(work).values()}
    assert len(roots) > 1, "stock PyTorch agreed with itself: this test no longer shows anything"
