"""benchmarks/quality.py: it runs, it resumes, and docs/quality.md shows what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[2]
BENCHMARKS = REPOSITORY / "benchmarks"
FIGURES = REPOSITORY / "docs" / "figures"


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark as a module; its siblings lie beside it, as when it runs as a script."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import quality

    return quality


@pytest.mark.slow
def test_benchmark_runs_and_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "quality.py"), "--steps", "3", "--width", "16"]
    command += ["--seeds", "0", "--out", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert first.stderr.count("step 3:") == 5
    assert "| exact b = 14 |" in first.stdout
    root = ElementTree.fromstring((tmp_path / "quality.svg").read_text())
    assert len(root.findall("{*}polyline")) == 10

    results = json.loads((tmp_path / "quality.json").read_text())
    del results["runs"]["exact b = 16, seed 0"]
    (tmp_path / "quality.json").write_text(json.dumps(results))
    second = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert [line.split(",")[0] for line in second.stderr.splitlines()] == ["exact b = 16"]
    assert second.stdout == first.stdout


def test_document_shows_the_curves_of_the_figures(quality: ModuleType) -> None:
    text = (REPOSITORY / "docs" / "quality.md").read_text()
    results = json.loads((FIGURES / "quality.json").read_text())
    assert results["settings"]["steps"] >= 400
    seeds = sorted(int(seed) for seed in results["errors"])
    assert len(seeds) >= 2
    for table in (quality.final_table, quality.checkpoint_table):
        assert quality.markdown(table(results, seeds)) in text
    assert quality.figure(results, seeds) == (FIGURES / "quality.svg").read_text()


def test_document_shows_the_outliers_of_the_exact_columns(quality: ModuleType) -> None:
    text = (REPOSITORY / "docs" / "quality.md").read_text()
    assert quality.markdown(quality.outlier_table()) in text
