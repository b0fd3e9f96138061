"""Where a refused call comes from: the user's lines, the autograd node, the parameter's name.

Everything here runs only when an error is about to be raised, so it may walk frames and modules.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

# With the separator, so that a package whose name merely starts alike counts as the user's.
_MACHINERY: Final = tuple(f"{Path(f).parent}{os.sep}" for f in (torch.__file__, __file__))
_STANDARD_LIBRARY: Final = f"{sysconfig.get_paths()['stdlib']}{os.sep}"
_INSTALLED: Final = ("site-packages", "dist-packages")
_FORWARD_LINE: Final = re.compile(r'File "(.+)", line (\d+)')


def where() -> str:
    """The innermost line outside torch and the engine, as 'file:line', and how it got there.

    A line of an installed package is followed by the caller's own line; a backward pass by the
    autograd node and, under `torch.autograd.detect_anomaly()`, by the line of its forward call.
    """
    lines = [f"{frame.f_code.co_filename}:{frame.f_lineno}" for frame in _frames()]
    place = next((line for line in lines if _is_code(line)), lines[0])
    if _is_installed(place):
        own = next((line for line in lines if _is_code(line) and not _is_installed(line)), None)
        place += f" (called from {own})" if own else ""
    return place + _backward()


def describe(value: object) -> str:
    """A call's argument in an error: 'float32[2, 3]' for a tensor, else its value or type."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(describe(v) for v in value[:4]) + "]"
    return repr(value) if isinstance(value, (int, float, bool, str)) else type(value).__name__


def not_finite(values: Sequence[Tensor]) -> str:
    """The first float tensor that holds a NaN or an infinity, as `describe` puts it."""
    return next((describe(t) for t in values if not _is_finite(t)), "")


def spoilt_parameter() -> str:
    """The first parameter that is not finite in the outermost module at work, by its full name."""
    modules = [frame.f_locals.get("self") for frame in _frames()]
    outermost = next((m for m in reversed(modules) if isinstance(m, nn.Module)), None)
    if outermost is None:
        return ""
    return next((n for n, p in outermost.named_parameters() if not _is_finite(p)), "")


def _is_finite(x: Tensor) -> bool:
    with _disable_current_modes():
        return not x.is_floating_point() or bool(torch.isfinite(x.detach()).all())


def _backward() -> str:
    node: Any = torch._C._current_autograd_node()  # None outside backward passes
    if node is None:
        return ""
    stack = _FORWARD_LINE.findall("".join(node.metadata.get("traceback_", [])))
    lines = [f"{file}:{line}" for file, line in reversed(stack)]
    if lines:
        forward = next((line for line in lines if _is_code(line)), lines[0])
        return f", in the backward pass of the call at {forward} ({node.name()})"
    return (
        f", in the backward pass ({node.name()}; "
        "torch.autograd.detect_anomaly() shows the line of its forward call)"
    )


def _frames() -> Iterator[FrameType]:
    """The calling frames, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_code(line: str) -> bool:
    if line.startswith(_MACHINERY):
        return False
    return _is_installed(line) or not line.startswith(_STANDARD_LIBRARY)


def _is_installed(line: str) -> bool:
    return any(f"{os.sep}{folder}{os.sep}" in line for folder in _INSTALLED)
