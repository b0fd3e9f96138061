"""The functions' hashes over all binary32 inputs, found without the engine.

    python -m tests.conformance.sweep                         # all 2^32 inputs of all functions
    python -m tests.conformance.sweep --functions exp --stride 257
    python -m tests.conformance.sweep --write                 # and record the hashes

The C library's binary64 functions decide all but a few inputs (`sweep.c` says when), mpmath at 400
bits or more the rest, so no hash rests on one library's last digits. Needs a C compiler as `cc`.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.conformance.reference.functions import NAMES, correctly_rounded

HASHES = Path(__file__).parents[2] / "protocol" / "exact" / "conformance" / "function_hashes.json"
SOURCE = Path(__file__).with_name("sweep.c")
INPUTS = {1: 1 << 32, 257: 1 << 24}
"""Stride -> number of inputs: 0, stride, 2 * stride, ... modulo 2^32."""

STRETCH = 1 << 20  # inputs that one call of the C function covers


@lru_cache(maxsize=1)
def compiled() -> Any:
    """The C function, built into a temporary folder that goes at once."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "sweep.so"
        flags = ("-O2", "-ffp-contract=off", "-fno-fast-math", "-shared", "-fPIC")
        subprocess.run(["cc", *flags, "-o", str(target), str(SOURCE), "-lm"], check=True)
        library = ctypes.CDLL(str(target))
    library.sweep.restype = ctypes.c_int64
    library.sweep.argtypes = [
        *(ctypes.c_int, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int64),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    library.binary64.restype = ctypes.c_double
    library.binary64.argtypes = [ctypes.c_int, ctypes.c_double]
    return library


def stretch(name: str, start: int, stride: int, count: int) -> tuple[bytes, int]:
    """(little-endian results of inputs number start .. start + count, how many mpmath decided)."""
    first = start * stride & 0xFFFFFFFF
    results, undecided = (ctypes.c_uint32 * count)(), (ctypes.c_uint32 * count)()
    addresses = (ctypes.addressof(results), ctypes.addressof(undecided))
    open_cases = compiled().sweep(NAMES.index(name), first, stride, count, *addresses)
    for position in undecided[:open_cases]:
        argument = (first + position * stride) & 0xFFFFFFFF
        results[position] = correctly_rounded(name, argument)
    if sys.byteorder == "big":
        results = (ctypes.c_uint32.__ctype_le__ * count)(*results)
    return bytes(results), open_cases


def stretches(name: str, stride: int) -> Iterator[tuple[bytes, int]]:
    """All stretches in order, computed ahead on every core, a bounded number at a time."""
    total, cores = INPUTS[stride], os.cpu_count() or 1
    compiled()
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[tuple[bytes, int]]] = deque()
        for start in range(0, total, STRETCH):
            count = min(STRETCH, total - start)
            waiting.append(pool.submit(stretch, name, start, stride, count))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def digest(name: str, stride: int) -> tuple[str, int]:
    """(SHA-256 over all results of the stride, how many of them mpmath decided)."""
    sha, decided = hashlib.sha256(), 0
    for done, (results, open_cases) in enumerate(stretches(name, stride), 1):
        sha.update(results)
        decided += open_cases
        if done % 64 == 0:
            share = 100 * done * STRETCH / INPUTS[stride]
            sys.stderr.write(f"\r{name}: {share:.0f} %")
    sys.stderr.write("\r")
    return sha.hexdigest(), decided


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--stride", type=int, choices=sorted(INPUTS), default=1)
    parser.add_argument("--write", action="store_true", help=f"record the hashes in {HASHES.name}")
    arguments = parser.parse_args()
    recorded = json.loads(HASHES.read_text()) if HASHES.exists() else {}
    hashes = recorded.setdefault(str(arguments.stride), {})
    differing = 0
    for name in arguments.functions:
        begun = time.monotonic()
        found, decided = digest(name, arguments.stride)
        seconds = time.monotonic() - begun
        verdict = {None: "new", found: "agrees"}.get(hashes.get(name), "DIFFERS")
        differing += verdict == "DIFFERS"
        sys.stdout.write(f"{name:6} {found} {verdict:8} {decided} by mpmath, {seconds:.0f} s\n")
        sys.stdout.flush()
        if arguments.write:
            hashes[name] = found
            HASHES.parent.mkdir(parents=True, exist_ok=True)
            HASHES.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    return 1 if differing and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main())
