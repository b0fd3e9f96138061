"""The committed golden vectors are what the rules compute today, in both places."""

import json
from pathlib import Path

import pytest

from tests.rules import make_vectors


@pytest.mark.parametrize("path", make_vectors.FILES, ids=["python", "solidity"])
def test_committed_vectors_equal_fresh_ones(path: Path) -> None:
    assert path.read_text() == make_vectors.text(), "run: python -m tests.rules.make_vectors"


def test_vectors_reach_every_result_and_reason() -> None:
    """A branch of the settlement without a vector would be compared by nobody."""
    cases = json.loads(make_vectors.text())["settlement"]
    assert len(cases) >= 40
    results = {result for case in cases for result in case["results"]}
    assert results == set(range(10))
    reasons = {case["lines"][i] for case in cases for i in range(3, len(case["lines"]), 5)}
    assert reasons == set(range(13)), "all but Refund, which is no part of a round"


def test_transition_vectors_reach_every_edge() -> None:
    cells = json.loads(make_vectors.text())["phase"]["cells"]
    edges = {(cells[i], cells[i + 5]) for i in range(0, len(cells), 6)}
    assert len([edge for edge in edges if edge[0] != edge[1]]) == 37
