"""What exactness does to training quality: loss curves, gradient errors, outliers.

    python benchmarks/quality.py [--steps 400] [--seeds 0 1] [--out docs/figures] [--fresh]

Trains a small byte-level GPT with stock PyTorch and by the profile, from the same weights on the
same data. Writes the curves as quality.json and quality.svg. A run that the JSON file holds with
equal settings is not repeated, so an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from line_chart import Line, Panel, chart
from outliers import table as outlier_table
from quality_model import (
    VARIANTS,
    Curve,
    Model,
    Settings,
    Text,
    Variant,
    gradient_error,
    new_model,
    train,
)

REFERENCE = VARIANTS[0]

Results = dict[str, Any]


def load(path: Path, settings: Settings) -> Results:
    """Finished runs of these settings, or an empty collection."""
    fresh: Results = {"settings": asdict(settings), "machine": machine(), "runs": {}, "errors": {}}
    try:
        found: Results = json.loads(path.read_text())
    except FileNotFoundError:
        return fresh
    same = all(found[key] == fresh[key] for key in ("settings", "machine"))
    return found if same else fresh


def machine() -> dict[str, Any]:
    """What the stock figures may depend on; the exact ones do not."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def store(path: Path, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.replace(path)


def run_all(path: Path, results: Results, s: Settings, seeds: list[int]) -> None:
    """Train what is missing; the file is rewritten after each run."""
    text = Text.of_the_standard_library()
    for seed in seeds:
        for variant in VARIANTS:
            key = f"{variant.name}, seed {seed}"
            if key in results["runs"]:
                continue
            curve, model = train(text, s, seed, variant, tell)
            results["runs"][key] = _short(curve)
            if variant is REFERENCE:
                results["errors"][str(seed)] = gradient_errors(text, s, seed, model)
            store(path, results)


def gradient_errors(text: Text, s: Settings, seed: int, trained: Model) -> dict[str, list[float]]:
    """Per variant the gradient's error at the initial and at the trained weights."""
    tokens = next(text.batches(s, seed=1_000_000 + seed))
    models = (new_model(s, seed), trained)
    kinds = [v for v in VARIANTS if v.threads is None]
    return {v.name: [gradient_error(m, tokens, v, s) for m in models] for v in kinds}


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _short(curve: Curve) -> dict[str, list[float]]:
    return {
        "steps": list(curve.steps),
        "training": [round(x, 5) for x in curve.training],
        "held_out": [round(x, 5) for x in curve.held_out],
    }


def markdown(rows: list[list[str]]) -> str:
    """Rows as a Markdown table, the first one its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines)


def final_table(results: Results, seeds: list[int]) -> list[list[str]]:
    """Held-out loss after the last step, its distance from the reference, gradient errors."""
    rows = [["variant"]]
    rows[0] += [f"loss, seed {n}" for n in seeds] + [f"minus stock, seed {n}" for n in seeds]
    rows[0] += ["gradient error, initial", "gradient error, trained"]
    for variant in VARIANTS:
        finals = [_run(results, variant, n)["held_out"][-1] for n in seeds]
        bases = [_run(results, REFERENCE, n)["held_out"][-1] for n in seeds]
        errors = results["errors"][str(seeds[0])].get(variant.name)
        rows.append(
            [variant.name]
            + [f"{x:.4f}" for x in finals]
            + [f"{x - y:+.4f}" for x, y in zip(finals, bases, strict=True)]
            + ([f"{e:.1e}" for e in errors] if errors else ["", ""])
        )
    return rows


def checkpoint_table(results: Results, seeds: list[int], count: int = 5) -> list[list[str]]:
    """Training and held-out loss at a few checkpoints, the mean over the seeds."""
    steps = _run(results, REFERENCE, seeds[0])["steps"]
    chosen = [round((i + 1) * len(steps) / count) - 1 for i in range(count)]
    rows = [["variant, training / held-out", *(f"step {steps[i]}" for i in chosen)]]
    for variant in VARIANTS:
        runs = [_run(results, variant, n) for n in seeds]
        means = {k: [_mean([r[k][i] for r in runs]) for i in chosen] for k in _LOSSES}
        pairs = zip(*means.values(), strict=True)
        rows.append([variant.name, *(f"{t:.4f} / {h:.4f}" for t, h in pairs)])
    return rows


_LOSSES = ("training", "held_out")


def figure(results: Results, seeds: list[int]) -> str:
    """Held-out loss, and below it its distance from stock fp32 of the same seed."""
    loss, distance = [], []
    for n in seeds:
        base = _run(results, REFERENCE, n)["held_out"]
        for i, variant in enumerate(VARIANTS):
            run = _run(results, variant, n)
            look = {"colour": i, "dashed": n != seeds[0]}
            label = f"{variant.name}, seed {n}"
            gaps = [x - y for x, y in zip(run["held_out"], base, strict=True)]
            loss.append(Line(label, run["steps"], run["held_out"], **look))
            distance.append(Line(label, run["steps"], gaps, **look))
    panels = [
        Panel("held-out loss, nats per byte", loss),
        Panel("the same minus stock fp32 of the same seed", distance),
    ]
    return chart(panels, "optimiser steps")


def _run(results: Results, variant: Variant, seed: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = results["runs"][f"{variant.name}, seed {seed}"]
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--width", type=int, default=Settings.width)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--fresh", action="store_true", help="repeat finished runs")
    return parser.parse_args()


def main() -> None:
    a = arguments()
    os.nice(19 - os.nice(0))
    s = Settings(steps=a.steps, width=a.width)
    path = a.out / "quality.json"
    if a.fresh:
        path.unlink(missing_ok=True)
    results = load(path, s)
    run_all(path, results, s, a.seeds)
    (a.out / "quality.svg").write_text(figure(results, a.seeds))
    for rows in (
        final_table(results, a.seeds),
        checkpoint_table(results, a.seeds),
        outlier_table(),
    ):
        print(markdown(rows) + "\n")


if __name__ == "__main__":
    main()
