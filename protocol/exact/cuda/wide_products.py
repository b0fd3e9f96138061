"""A second test of GEMM routes on a device, at sizes where its libraries take their fast paths.

Libraries choose a kernel by size, so a small known answer says nothing about a large product. Here
many rows repeat few, whose results are known, and sums of digits grow as large as they can.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.exact.contraction import Route
from protocol.exact.errors import SelfTestFailed
from protocol.exact.known_answers import gemm_operands
from protocol.exact.profile import Profile

_ROWS, _COLUMNS = 300, 520  # beyond one tile of any kernel, and no multiples of one


def check_wide_products(route: Route, profile: Profile, device: torch.device) -> None:
    """Raise SelfTestFailed unless `route`, right on the small operands, is right on wide ones."""
    a, b = (t.to(device) for t in gemm_operands())
    small = route.gemm(a, b, profile)
    tall, wide = _repeated(a, _ROWS), _repeated(b.mT, _COLUMNS).mT
    want = _repeated(_repeated(small, _ROWS).mT, _COLUMNS).mT
    _require_equal(route, "a wide product", route.gemm(tall, wide, profile), want)
    batch = torch.stack([tall, tall.flip(0), tall.roll(1, 0)])
    turned = torch.stack([want, want.flip(0), want.roll(1, 0)])
    _require_equal(route, "a batch", route.gemm(batch, wide.expand(3, -1, -1), profile), turned)
    a, b, want = long_sums(profile)
    got = route.gemm(a.to(device), b.to(device), profile)
    _require_equal(route, "long sums", got, want.to(device))


def long_sums(profile: Profile) -> tuple[Tensor, Tensor, Tensor]:
    """A [64, kb], B [kb, 64] and A . B, where products of digits sum as high as they can.

    A row or column holds high digits only or low digits only, of one sign, so that no bit of a sum
    is rounded away: an accumulator that drops low bits of large sums shows. The product is computed
    in int64. Two terms with a factor of 0 set the scales.
    """
    digit = profile.b // 2
    k, i = torch.arange(profile.kb), torch.arange(64).unsqueeze(1)
    largest = (1 << (digit - 1)) - 1
    place = torch.where(i % 2 == 0, 1, 1 << digit)
    a, b = (largest - (k + i) % 5) * place, (largest - (3 * k + i) % 7) * place
    one = 1 << (profile.b - 2)
    a[:, 0], b[:, 0] = one, 0
    a[:, 1], b[:, 1] = 0, one
    product = (a @ b.t()).to(torch.float64) / one**2
    left, right = (x.to(torch.float32) / one for x in (a, b))
    return left, right.t(), product.to(torch.float32)


def _repeated(x: Tensor, rows: int) -> Tensor:
    return x.repeat(-(-rows // x.shape[0]), 1)[:rows]


def _require_equal(route: Route, what: str, got: Tensor, want: Tensor) -> None:
    if got.shape != want.shape or not torch.equal(got, want):
        raise SelfTestFailed(f"route {route.name}: {what} differs from its parts")
