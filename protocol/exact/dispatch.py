"""The engine as a layer under autograd: every ATen call of a module comes through here.

`exact()` switches it on for a block. Autograd records the graph as usual; each call it makes, in
forward and backward, is looked up in the allow-list and computed by the profile. The mode belongs
to the thread that enters it; autograd runs CPU backward passes on the calling thread and hands the
mode to its device threads.

INVARIANT: no stock floating-point kernel decides a bit; a call without an entry raises.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from protocol.exact.allowlist import TABLE, VIEWS
from protocol.exact.draws import drawing
from protocol.exact.errors import (
    AutocastActive,
    CompiledCode,
    MixedDevices,
    NonFinite,
    UnsupportedDtype,
    UnsupportedOp,
)
from protocol.exact.handlers import Engine, Refused
from protocol.exact.known_answers import require_subnormals
from protocol.exact.library_calls import LibraryCalls
from protocol.exact.memory import keep_memory
from protocol.exact.origin import describe, not_finite, spoilt_parameter, where
from protocol.exact.profile import Profile, resolve
from protocol.exact.refusals import refusal
from protocol.exact.route_choice import choose_route, requested_route

DTYPES: Final = frozenset(
    {torch.float32, torch.int64, torch.int32, torch.uint8, torch.int8, torch.bool}
)

_DEVICES: Final = ("cpu", "cuda")

_ACROSS_DEVICES: Final = frozenset(
    {
        torch.ops.aten.copy_.default,
        torch.ops.aten.index.Tensor,  # indices may stay on the host
        torch.ops.aten.index_put.default,
        torch.ops.aten.index_put_.default,
        # The lengths of packed sequences always stay on the host.
        torch.ops.aten._pack_padded_sequence.default,
    }
)


@contextmanager
def exact(
    profile: Profile | str = "exact-1",
    *,
    route: str | None = None,
    seed: int | None = None,
    stream: int = 0,
    step: int = 0,
) -> Iterator[Engine]:
    """Run every torch operation of the block by the numeric profile, forward and backward.

    `route` names the GEMM route ('float64', 'int8'); None takes GRADPROOF_EXACT_ROUTE, else the
    fastest one whose self-test passes. `seed` (64 bits), `stream` and `step` (32 bits) address the
    random numbers of dropout; without a seed it is refused. Raises on entry: AutocastActive,
    CompiledCode, FlushToZero, InvalidProfile, InvalidSeed, RandomnessInUse, RouteUnavailable,
    SelfTestFailed; inside: UnsupportedOp, UnsupportedDtype, MixedDevices, NonFinite. Run the
    backward pass inside too: outside, stock kernels compute it.
    """
    _require_plain_execution()
    keep_memory()
    with _disable_current_modes():
        require_subnormals()
    resolved = resolve(profile)
    name = requested_route(route)
    choose_route(name, resolved)  # the self-tests run here, before any task arithmetic
    with drawing(seed, stream, step) as draws:
        engine = Engine(resolved, name, draws)
        with ExactMode(engine), LibraryCalls(partial(_replace, engine)):
            yield engine


def _replace(
    engine: Engine,
    name: str,
    ours: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    try:
        return ours(engine, *args, **kwargs)
    except Refused as refused:
        raise UnsupportedOp(
            name, "default", _described(args, kwargs), where(), str(refused)
        ) from None


class ExactMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Routes ATen calls to the engine's handlers; see `exact`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.engine = engine

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would wrap each call in a switch that imports its compiler; none runs in here.
        return False

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """torch.compile asks this of each mode when a compiled function begins to run."""
        if sys._getframe(2).f_globals.get("__name__", "").startswith("torch._dynamo."):
            raise CompiledCode(where())
        return False

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute one ATen call, or refuse it."""
        kwargs = kwargs or {}
        if func in VIEWS:
            return func(*args, **kwargs)
        handler = TABLE.get(func)
        if handler is None:
            if func._can_decompose():  # inference mode delivers composite calls whole
                with self:
                    return func.decompose(*args, **kwargs)
            raise _unsupported(func, args, kwargs, refusal(_name(func)))
        tensors: list[Tensor] = []
        _collect(func, args, tensors)
        _collect(func, kwargs.values(), tensors)
        if tensors:
            _check_devices(func, tensors)
        try:
            # A handler's own calls of torch are nobody's to replace; asking each would cost much.
            with torch._C.DisableTorchFunction():
                if torch._C._len_torch_dispatch_stack():  # nor may an outer engine see the workings
                    with _disable_current_modes():
                        result = handler(self.engine, *args, **kwargs)
                else:
                    result = handler(self.engine, *args, **kwargs)
        except Refused as refused:
            raise _unsupported(func, args, kwargs, str(refused)) from None
        except NonFinite as found:
            details = (not_finite(tensors), spoilt_parameter(), where())
            raise NonFinite(found.op, found.finding, _name(func), *details) from None
        if isinstance(result, Tensor) and result.dtype not in DTYPES:
            raise UnsupportedDtype(str(result.dtype), str(func), where())
        return result


def _collect(func: OpOverload, values: Any, tensors: list[Tensor]) -> None:
    """Gather the tensors among `values`, their types checked."""
    for value in values:
        if isinstance(value, Tensor):
            if value.dtype not in DTYPES:
                raise UnsupportedDtype(str(value.dtype), str(func), where())
            if value.layout is not torch.strided:
                raise UnsupportedDtype(str(value.layout), str(func), where())
            tensors.append(value)
        elif isinstance(value, torch.dtype):
            if value not in DTYPES:
                _refuse_dtype(value, func)
        elif isinstance(value, (list, tuple)):
            _collect(func, value, tensors)


def _check_devices(func: OpOverload, tensors: list[Tensor]) -> None:
    """Copies cross devices, and host scalars may meet any; everything else stays on one."""
    for t in tensors:
        if not t.is_cpu:
            break
    else:  # the common case, asked first
        return
    device = tensors[0].device
    alike = all(t.device == device for t in tensors[1:]) or func in _ACROSS_DEVICES
    if alike and device.type in _DEVICES:
        return
    devices = sorted({str(t.device) for t in tensors if t.ndim or t.device.type != "cpu"})
    if len(devices) > 1 or device.type not in _DEVICES:
        raise MixedDevices(str(func), devices, where())


def _refuse_dtype(dtype: torch.dtype, func: OpOverload) -> None:
    # Below autograd, autocast reports itself off: only its nesting depth tells who asked.
    inside_autocast = torch.autocast_increment_nesting() > 1
    torch.autocast_decrement_nesting()
    if inside_autocast:
        raise AutocastActive(where())
    raise UnsupportedDtype(str(dtype), str(func), where())


def _unsupported(
    func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str
) -> UnsupportedOp:
    return UnsupportedOp(_name(func), func._overloadname, _described(args, kwargs), where(), reason)


def _described(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    return [describe(a) for a in (*args, *kwargs.values())]


def _name(func: OpOverload) -> str:
    return str(func._schema.name).rpartition("::")[2]


def _require_plain_execution() -> None:
    if torch.compiler.is_compiling():
        raise CompiledCode(where())
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise AutocastActive(where())
