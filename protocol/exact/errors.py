"""Everything the numeric engine can refuse, as typed errors.

ExactError
+-- UnsupportedOp         an ATen call that is not on the allow-list
+-- UnsupportedDtype      a tensor outside binary32, int64, int32, uint8, int8, bool
+-- AutocastActive        autocast would change the dtypes behind the engine's back
+-- MixedDevices          one call got tensors of two devices
+-- CompiledCode          compiled kernels would bypass the engine
+-- GradientNotRecorded   a plain primitive was called on a tensor that wants gradients
+-- NonFinite             the canonical NONFINITE outcome of a task (a result, not a fault)
+-- InvalidProfile        a profile this engine does not implement
+-- InvalidSeed           a seed, stream or step that addresses no random numbers
+-- InvalidUpdate         parameters, gradients and optimiser that do not fit together
+-- RandomnessInUse       another thread is inside a block that draws random numbers
+-- RouteUnavailable      the asked-for GEMM route fails or cannot run on this machine
|   +-- KernelsUnavailable  native kernels cannot be built, or do not cover the request
+-- FlushToZero           a computing thread flushes subnormal numbers to zero
+-- SelfTestFailed        a primitive gives wrong bits on this machine
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.rules.errors import GradproofError


class ExactError(GradproofError):
    """Root of the engine's errors."""


class UnsupportedOp(ExactError):
    """An ATen call that the profile does not define; no stock kernel runs in its place.

    `name` and `overload` are ATen's, `shapes` describes the tensor arguments, `where` is the
    innermost line of code outside torch and the engine.
    """

    def __init__(
        self, name: str, overload: str, shapes: Sequence[str], where: str, reason: str = ""
    ) -> None:
        self.name, self.overload, self.shapes, self.where = name, overload, tuple(shapes), where
        self.reason = reason or "it is not on the profile's allow-list"
        super().__init__(
            f"{name}.{overload}({', '.join(self.shapes)}) at {where}: {self.reason}; "
            "express it with the operations listed in docs/numerics.md"
        )


class UnsupportedDtype(ExactError):
    """A tensor whose type the profile does not define reached an operation."""

    def __init__(self, dtype: str, op: str, where: str) -> None:
        self.dtype, self.op, self.where = dtype, op, where
        super().__init__(
            f"{op} at {where}: {dtype} is not part of the profile; "
            "keep parameters and activations in float32 and indices in int64"
        )


class AutocastActive(ExactError):
    """Autocast is on where only binary32 is defined."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(
            f"autocast is active at {where} and would round operands to another type; "
            "leave the autocast context before entering exact()"
        )


class MixedDevices(ExactError):
    """One call got tensors of different devices, or of a device that holds no values."""

    def __init__(self, op: str, devices: Sequence[str], where: str) -> None:
        self.op, self.devices, self.where = op, tuple(devices), where
        super().__init__(
            f"{op} at {where}: its tensors are on {' and '.join(self.devices)}; "
            "move the whole model and its batch to one device (cpu or cuda)"
        )


class CompiledCode(ExactError):
    """torch.compile was asked to run inside the engine."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(
            f"torch.compile is in use at {where}: compiled kernels fuse and reorder arithmetic; "
            "run the plain module inside exact()"
        )


class GradientNotRecorded(ExactError):
    """A plain primitive would silently cut the autograd graph."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name}() records no gradient but got a tensor that requires one; "
            "call the torch operation inside exact(), or detach the operand or use no_grad()"
        )


class NonFinite(ExactError):
    """The task's outcome is NONFINITE: a NaN or infinity where the profile allows none."""

    def __init__(self, op: str, what: str) -> None:
        self.op, self.what = op, what
        super().__init__(
            f"{op}: {what}; the task ends with the canonical outcome NONFINITE "
            "(lower the learning rate or clip the gradients)"
        )


class InvalidProfile(ExactError):
    """The requested numeric profile is not one this engine implements."""


class InvalidSeed(ExactError):
    """A seed, stream or step outside its range, or a draw whose number got lost."""


class InvalidUpdate(ExactError):
    """An optimiser step over tensors that do not fit together, or that its rule cannot step."""


class RandomnessInUse(ExactError):
    """Two threads of one process want to draw random numbers at a time."""

    def __init__(self) -> None:
        super().__init__(
            "another thread is inside exact(seed=...): draws are counted per process, so only one "
            "block may draw at a time; wait for it, or compute in another process"
        )


class RouteUnavailable(ExactError):
    """The requested GEMM route cannot serve on this machine."""


class KernelsUnavailable(RouteUnavailable):
    """Native kernels cannot serve; the pure PyTorch path computes the same bits, more slowly."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"native kernels do not serve: {reason}; PyTorch computes the same bits")


class FlushToZero(ExactError):
    """Subnormal numbers are flushed to zero in at least one computing thread."""

    def __init__(self) -> None:
        super().__init__(
            "subnormal numbers are flushed to zero in a computing thread (a library set FTZ/DAZ, "
            "usually one built with -ffast-math); call torch.set_flush_denormal(False) in every "
            "thread or import that library after the computation"
        )


class SelfTestFailed(ExactError):
    """A primitive disagrees with its known answer on this machine."""
