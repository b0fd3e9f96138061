"""The command: vectors first, then the functions over all their inputs; see the package."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from protocol.exact.conformance import function_sweep, runner, vectors

_ROW = "{:<22} {:>7} {:>7} {:>8} {:>9} {:>8}  {}"


@dataclass(slots=True)
class Report:
    """Prints lines as they come and remembers the first difference."""

    first: str | None = None

    def line(self, text: str) -> None:
        """One line of the table."""
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()

    def differs(self, text: str) -> None:
        """Note a difference."""
        self.first = self.first or text

    def outcome(self, outcome: runner.Outcome) -> None:
        """One way's line."""
        self.line(
            _ROW.format(
                *(outcome.way, outcome.threads, outcome.equal, outcome.left_out),
                *(len(outcome.differing), f"{outcome.seconds:.1f}", outcome.note),
            )
        )
        for difference in outcome.differing:
            self.differs(f"{outcome.way}, {outcome.threads} threads: {difference}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 when every bit is right."""
    options = _parser().parse_args(arguments)
    device, report = torch.device(options.device), Report()
    if not options.no_vectors:
        cases = vectors.load()
        report.line(f"{len(cases)} cases of the profile's vectors on {device}")
        report.line(_ROW.format("way", "threads", "equal", "left out", "differing", "seconds", ""))
        runner.run(cases, device, options.threads, report.outcome)
    names = [name for name in options.functions if name != "none"]
    if names:
        count = function_sweep.COUNTS[options.stride]
        report.line(f"functions over {count} inputs (stride {options.stride})")
        for name in names:
            _sweep(name, options.stride, device, report)
    if report.first:
        sys.stderr.write(f"NOT CONFORMING. First difference: {report.first}\n")
        return 1
    report.line("This machine computes the profile.")
    return 0


def _sweep(name: str, stride: int, device: torch.device, report: Report) -> None:
    want = function_sweep.recorded_hashes()[stride][name]
    for label, setting, evaluate in function_sweep.implementations(name, device):
        begun = time.monotonic()
        with runner.kernel_level(setting):
            got = function_sweep.digest(evaluate, stride, device, _progress(f"{name}, {label}"))
        sys.stderr.write("\r\033[K")
        verdict = "equal" if got == want else "DIFFERS"
        seconds = f"{time.monotonic() - begun:.0f} s"
        report.line(f"{name:<6} {label:<15} {verdict:<8} {seconds:>7}  {got}")
        if got != want:
            report.differs(f"{name}, {label}: hash {got} instead of {want}")


def _progress(what: str) -> function_sweep.Progress:
    def show(share: float) -> None:
        sys.stderr.write(f"\r{what}: {min(share, 1):4.0%}")
        sys.stderr.flush()

    return show


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m protocol.exact.conformance",
        description="Check every route and every function of this machine against the profile.",
    )
    parser.add_argument(
        "--functions",
        nargs="+",
        choices=(*function_sweep.NAMES, "none"),
        default=function_sweep.NAMES,
        help="functions to run over their inputs (default: all)",
    )
    parser.add_argument(
        "--stride",
        type=int,
        choices=sorted(function_sweep.COUNTS),
        default=1,
        help="1: all 2^32 inputs (default); 257: a fixed 2^24 of them",
    )
    parser.add_argument("--no-vectors", action="store_true", help="functions only")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--threads",
        nargs="+",
        type=int,
        default=sorted({1, os.cpu_count() or 1}),
        help="numbers of threads to try the vectors with (default: 1 and all)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
