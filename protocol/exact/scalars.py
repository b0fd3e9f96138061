"""Scalars of an optimiser step: the exact value of a formula, rounded once to binary32.

Learning rates and betas are binary64 numbers, so every formula over them has one exact value. Where
a power makes it too long to write down, it is bracketed in integers, more tightly each time, until
both ends round alike. INVARIANT: a row depends on its arguments alone; no library function of the
host takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import inf, isfinite, isqrt, ldexp
from typing import Final

from protocol.exact.adamw_row import AdamWRow
from protocol.exact.errors import InvalidUpdate
from protocol.exact.update_rules import AdamRow, LionRow, MuonRow, SGDRow

_FIRST_BITS: Final = 128
_ONE: Final = Fraction(1)

Bracket = tuple[Fraction, Fraction]


def rounded(x: Fraction) -> float:
    """`x` rounded to binary32: nearest, ties to even, subnormals kept; zero is +0.

    Raises InvalidUpdate where that is no finite number.
    """
    if not x:
        return 0.0
    lead = abs(x.numerator).bit_length() - x.denominator.bit_length()
    if abs(x) < Fraction(2) ** lead:
        lead -= 1
    place = max(lead - 23, -149)
    result = ldexp(round(x / Fraction(2) ** place), place)
    if abs(result) >= 2.0**128:
        raise InvalidUpdate("a scalar of this step is beyond binary32; lower the learning rate")
    return result


@lru_cache(maxsize=256)
def adamw_row(
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, step: int
) -> AdamWRow:
    """The row of AdamW's step number `step` (from 1). Raises InvalidUpdate on senseless numbers."""
    exact_lr, decay = _rate("lr", lr), _rate("weight_decay", weight_decay)
    return AdamWRow(rounded(1 - exact_lr * decay), *_moments(exact_lr, betas, eps, step))


@lru_cache(maxsize=256)
def adam_row(
    lr: float, betas: tuple[float, float], eps: float, weight_decay: float, step: int
) -> AdamRow:
    """The row of Adam's step number `step` (from 1). Raises InvalidUpdate on senseless numbers."""
    exact_lr, decay = _rate("lr", lr), _rate("weight_decay", weight_decay)
    return AdamRow(rounded(decay), *_moments(exact_lr, betas, eps, step))


def lion_row(lr: float, betas: tuple[float, float], weight_decay: float) -> LionRow:
    """The row of any step of Lion. Raises InvalidUpdate on senseless numbers."""
    exact_lr, decay = _rate("lr", lr), _rate("weight_decay", weight_decay)
    return LionRow(rounded(exact_lr), rounded(1 - exact_lr * decay), *_betas(betas))


def muon_row(
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    coefficients: tuple[float, float, float],
    eps: float,
    iterations: int,
) -> MuonRow:
    """The row of any step of Muon. Raises InvalidUpdate on senseless numbers."""
    exact_lr, decay = _rate("lr", lr), _rate("weight_decay", weight_decay)
    if iterations < 0:
        raise InvalidUpdate(f"ns_steps = {iterations} is not usable; it must be at least 0")
    first, second, third = (rounded(_number("ns_coefficients", c, -inf)) for c in coefficients)
    return MuonRow(
        lr=rounded(exact_lr),
        decay=rounded(1 - exact_lr * decay),
        momentum=rounded(_rate("momentum", momentum)),
        nesterov=nesterov,
        iterations=iterations,
        a=first,
        b=second,
        c=third,
        eps=rounded(_rate("eps", eps)),
    )


def sgd_row(
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    first: bool,
) -> SGDRow:
    """The row of a step of SGD; the `first` one is not damped. Raises InvalidUpdate likewise."""
    if nesterov and (not momentum or dampening):
        raise InvalidUpdate("nesterov needs a momentum and no dampening")
    scale = 1 - _number("dampening", dampening, -inf)
    return SGDRow(
        rounded(_rate("lr", lr)),
        rounded(_rate("momentum", momentum)),
        1.0 if first else rounded(scale),
        nesterov,
        rounded(_rate("weight_decay", weight_decay)),
    )


def _moments(
    lr: Fraction, betas: tuple[float, float], eps: float, step: int
) -> tuple[float, float, float, float, float, float, float]:
    """What Adam and AdamW share: betas, complements, lr/(1-b1^t), 1/sqrt(1-b2^t), eps."""
    if step < 1:
        raise InvalidUpdate(f"step = {step} is not usable; steps count from 1")
    first, second = (Fraction(beta) for beta in betas)
    fixed = _betas(betas)
    return (
        *fixed,
        _settled(lambda bits: _map(lambda p: lr / (1 - p), _power(first, step, bits))),
        _settled(lambda bits: _root(_map(lambda p: 1 / (1 - p), _power(second, step, bits)), bits)),
        rounded(_rate("eps", eps)),
    )


def _betas(betas: tuple[float, float]) -> tuple[float, float, float, float]:
    first, second = (_number("a beta", beta, 0.0, below=1.0) for beta in betas)
    return rounded(first), rounded(1 - first), rounded(second), rounded(1 - second)


def _rate(name: str, value: float) -> Fraction:
    return _number(name, value, 0.0)


def _number(name: str, value: float, low: float, *, below: float = inf) -> Fraction:
    if not (isfinite(value) and low <= value < below):
        wanted = "finite" if low == -inf else f"at least {low:g}" + f" and below {below:g}"
        raise InvalidUpdate(f"{name} = {value!r} is not usable; it must be {wanted}")
    return Fraction(value)


def _settled(bracket: Callable[[int], Bracket]) -> float:
    """The binary32 number that a value rounds to, from brackets of growing precision.

    It ends: a bracket of enough bits is exact, and then both ends are one.
    """
    bits = _FIRST_BITS
    while True:
        low, high = (rounded(end) for end in bracket(bits))
        if low == high:
            return low
        bits *= 2


def _map(increasing: Callable[[Fraction], Fraction], bracket: Bracket) -> Bracket:
    return increasing(bracket[0]), increasing(bracket[1])


def _power(base: Fraction, exponent: int, bits: int) -> Bracket:
    """base^exponent for 0 <= base < 1, by squaring, each product cut to `bits` places."""
    low = high = _ONE
    for digit in f"{exponent:b}":
        low, high = low * low, high * high
        if digit == "1":
            low, high = low * base, high * base
        low, high = _cut(low, bits), -_cut(-high, bits)
    return low, high


def _cut(x: Fraction, bits: int) -> Fraction:
    """The largest multiple of 2^-bits that is not above `x`."""
    return Fraction((x.numerator << bits) // x.denominator, 1 << bits)


def _root(bracket: Bracket, bits: int) -> Bracket:
    """Square roots of both ends, outwards to `bits` places."""
    low, high = ((end.numerator << 2 * bits, end.denominator) for end in bracket)
    below = isqrt(low[0] // low[1])
    above = isqrt(-(-high[0] // high[1]) - 1) + 1 if high[0] else 0
    return Fraction(below, 1 << bits), Fraction(above, 1 << bits)
