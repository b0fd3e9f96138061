"""The witness: proof that a computation was done, not copied.

A seal hides its root; a panel seat must open it. It names values that no output shows: the
activations of every layer and the gradients before they were clipped.
INVARIANT: the order of its leaves follows the program, never the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from protocol.exact.roots import tensor_root
from protocol.rules import merkle


class Witness:
    """Collects intermediate tensors in program order and gives the RFC 6962 root of their roots.

    Tensors are only noted while the numeric engine runs; `settle` hashes them outside of it.
    """

    def __init__(self) -> None:
        self._noted: list[Tensor] = []
        self._roots: list[bytes] = []

    def note(self, tensor: Tensor) -> None:
        """Add a tensor. It must not change before `settle`."""
        self._noted.append(tensor.detach())

    def settle(self) -> None:
        """Hash what was noted, so that its memory can go."""
        noted, self._noted = self._noted, []
        self._roots += [tensor_root(tensor) for tensor in noted]

    @contextmanager
    def watch(self, modules: tuple[nn.Module, ...]) -> Iterator[None]:
        """Note the output of these modules on each run within the context, in running order."""

        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple) else output
            assert isinstance(first, Tensor)
            self.note(first)

        handles = [module.register_forward_hook(hook) for module in modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def root(self) -> bytes:
        """Return the root over everything noted so far, 32 bytes."""
        self.settle()
        return merkle.root(self._roots)
