"""Compiles the C++ sources at first use and publishes the library in a per-user cache.

The file's name is a digest of everything that went into it, so a stale library is never loaded;
the instruction set is chosen at run time, so one file serves every machine that shares a home. Two
processes may compile at once: each writes its own folder and the rename that publishes is atomic.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

import torch

from protocol.exact.errors import KernelsUnavailable

SOURCES: Final = Path(str(files("protocol.exact.kernels"))) / "source"

FLAGS: Final = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fopenmp",
    # Each operation rounds once, as written: no fused multiply-add, no reordering.
    "-ffp-contract=off",
    "-fno-fast-math",
    # Neither changes a value; without errno and traps loops with conversions vectorise.
    "-fno-math-errno",
    "-fno-trapping-math",
)

CACHE_VARIABLE: Final = "GRADPROOF_KERNEL_CACHE"

_PATIENCE: Final = 120.0  # seconds for one compiler run; an idle core needs about two


def library_path(compiler: str | None = None, cache: Path | None = None) -> Path:
    """The compiled library, built now if the cache has none.

    Raises KernelsUnavailable without a compiler, when it fails, or when the cache is not safe.
    """
    compiler = compiler or find_compiler()
    openmp = openmp_runtime()
    folder = cache or default_cache()
    path = folder / f"kernels-{_digest(compiler, openmp)}.so"
    _require_private(folder)
    if not path.exists():
        _publish(compiler, openmp, path)
    return path


def find_compiler() -> str:
    """The C++ compiler named by CXX, or the first of the usual ones on the PATH."""
    wished = os.environ.get("CXX")
    for name in (wished,) if wished else ("g++", "c++"):
        found = shutil.which(name)
        if found is not None:
            return found
    raise KernelsUnavailable("no C++ compiler was found (install g++, or set CXX)")


def openmp_runtime() -> Path:
    """The OpenMP runtime that torch has loaded: a second one would oversubscribe the cores."""
    try:
        maps = Path("/proc/self/maps").read_text("utf-8", errors="replace")
    except OSError as error:
        raise KernelsUnavailable("this system does not tell which OpenMP torch uses") from error
    loaded = {Path(line.split(maxsplit=5)[5].strip()) for line in maps.splitlines() if "/" in line}
    folder = Path(torch.__file__).parent
    runtimes = sorted(p for p in loaded if p.name.startswith(("libgomp", "libiomp5")))
    own = [p for p in runtimes if folder in p.parents or folder.parent / "torch.libs" in p.parents]
    if not runtimes:
        raise KernelsUnavailable("torch uses no OpenMP runtime that g++ can link (libgomp)")
    return (own or runtimes)[0]


def default_cache() -> Path:
    """GRADPROOF_KERNEL_CACHE, or gradproof/kernels in the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(root) if root else Path.home() / ".cache"
    except RuntimeError as error:
        raise KernelsUnavailable(f"this user has no home folder: set {CACHE_VARIABLE}") from error
    return base / "gradproof" / "kernels"


def _digest(compiler: str, openmp: Path) -> str:
    digest = hashlib.sha256()
    parts = [compiler, _run([compiler, "--version"]), torch.__version__, openmp.name, *FLAGS]
    for part in parts:
        digest.update(part.encode() + b"\0")
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _require_private(folder: Path) -> None:
    """Code is loaded from here: nobody else may write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise KernelsUnavailable(f"the cache folder {folder} cannot be made: {error}") from error
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KernelsUnavailable(
            f"the cache folder {folder} belongs to or is writable by others "
            f"(chmod 700 it, or set {CACHE_VARIABLE})"
        )


def _publish(compiler: str, openmp: Path, path: Path) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=path.parent) as name:
            work = Path(name)
            objects = _compile(compiler, work)
            built = work / path.name
            # Linked by path: the loader then finds torch's runtime, already loaded, by its name.
            _run([compiler, "-shared", "-o", str(built), *objects, str(openmp), "-lm"])
            built.replace(path)
    except OSError as error:
        raise KernelsUnavailable(f"the compiled library cannot be stored: {error}") from error


def _compile(compiler: str, work: Path) -> list[str]:
    """Object files of all sources, compiled side by side."""
    running = []
    for source in sorted(SOURCES.glob("*.cpp")):
        target = work / f"{source.stem}.o"
        command = [compiler, *FLAGS, "-c", str(source), "-o", str(target)]
        running.append((target, _start(command)))
    for _, process in running:
        _finish(process)
    return [str(target) for target, _ in running]


def _start(command: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"LC_ALL": "C"}
    try:
        return subprocess.Popen(  # noqa: S603 - the compiler, with arguments of this module
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
    except OSError as error:
        raise KernelsUnavailable(f"{command[0]} cannot be started: {error}") from error


def _finish(process: subprocess.Popen[str]) -> str:
    with process:
        try:
            output, _ = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise KernelsUnavailable(f"the compiler took more than {_PATIENCE:.0f} s") from error
    if process.returncode:
        raise KernelsUnavailable(f"the compiler failed: {output.strip()[-500:]}")
    return output


def _run(command: list[str]) -> str:
    return _finish(_start(command))
