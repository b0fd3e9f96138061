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

    `name` and `overload` are ATen's, `shapes` describes the arguments, `where` is the innermost
    line of code outside torch and the engine (see `origin.where`), `reason` says why.
    """

    def __init__(
        self, name: str, overload: str, shapes: Sequence[str], where: str, reason: str = ""
    ) -> None:
        super().__init__(
            f"{name}.{overload}({', '.join(shapes)}) at {where} is refused",
            why=f"The profile exact-1: {reason or 'this call is not on its allow-list'}.",
            fix="Express it with the operations listed in docs/numerics.md.",
        )
        self.name, self.overload, self.shapes, self.where = name, overload, tuple(shapes), where
        self.reason = reason


class UnsupportedDtype(ExactError):
    """A tensor whose type the profile does not define reached an operation."""

    def __init__(self, dtype: str, op: str, where: str) -> None:
        super().__init__(
            f"{op} at {where} got {dtype}",
            why="Parameters and activations of the profile are float32, indices integers.",
            fix="Convert the model by model.float() and the batch likewise, before exact().",
        )
        self.dtype, self.op, self.where = dtype, op, where


class AutocastActive(ExactError):
    """Autocast is on where only binary32 is defined."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"autocast is active at {where}",
            why="It would round operands to another type; the profile is defined in float32 alone.",
            fix="Leave the autocast context before entering exact(), and enter none inside.",
        )
        self.where = where


class MixedDevices(ExactError):
    """One call got tensors of different devices, or of a device that holds no values."""

    def __init__(self, op: str, devices: Sequence[str], where: str) -> None:
        super().__init__(
            f"{op} at {where} got tensors on {' and '.join(devices)}",
            why="A call's tensors must lie on one device that holds values: cpu or cuda.",
            fix="Move the whole model and its batch to one device.",
        )
        self.op, self.devices, self.where = op, tuple(devices), where


class CompiledCode(ExactError):
    """torch.compile was asked to run inside the engine."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"torch.compile is in use at {where}",
            why="Compiled kernels fuse and reorder arithmetic, behind the engine's back.",
            fix="Run the plain module inside exact(): model._orig_mod, or never compile it.",
        )
        self.where = where


class GradientNotRecorded(ExactError):
    """A plain primitive would silently cut the autograd graph."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name}() got a tensor that requires a gradient",
            why="A plain primitive records none: the graph would end here without a word.",
            fix="Call the torch operation inside exact(), or detach the operand or use no_grad().",
        )
        self.name = name


class NonFinite(ExactError):
    """The task's outcome is NONFINITE: a NaN or infinity where the profile allows none.

    `op` is the primitive and `finding` what it met. For a call of torch, `call` is its name,
    `operand` describes the argument that is not finite, `parameter` names a parameter of the model
    that is not, if any, and `where` is the line.
    """

    def __init__(
        self,
        op: str,
        finding: str,
        call: str = "",
        operand: str = "",
        parameter: str = "",
        where: str = "",
    ) -> None:
        place = f" in {call} at {where}" if where else ""
        details = f" ({operand})" if operand else ""
        blame = f"The parameter {parameter} is not finite. " if parameter else ""
        super().__init__(
            f"{op}{place}: {finding}{details}",
            why=f"{blame}The task ends with the canonical outcome NONFINITE.",
            fix="Check the weights and the batch; lower the learning rate or clip the gradients.",
        )
        self.op, self.finding = op, finding
        self.call, self.operand, self.parameter, self.where = call, operand, parameter, where


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
            "another thread is inside exact(seed=...)",
            why="Draws are counted per process, so only one block may draw at a time.",
            fix="Wait for it, or compute in another process.",
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
            "subnormal numbers are flushed to zero in a computing thread",
            why="A library set FTZ or DAZ there, usually one built with -ffast-math.",
            fix="Call torch.set_flush_denormal(False) in every thread, or import that library "
            "after the computation.",
        )


class SelfTestFailed(ExactError):
    """A primitive disagrees with its known answer on this machine."""
