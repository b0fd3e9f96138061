"""Random bits: Philox4x32-10, addressed by stream, step, operation and element."""

from __future__ import annotations

from fractions import Fraction

from tests.conformance.reference.binary32 import rne32

WORD = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox4x32-10 of one counter."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & WORD, p0 >> 32 ^ c[3] ^ k[1], p0 & WORD]
        k = [k[0] + 0x9E3779B9 & WORD, k[1] + 0xBB67AE85 & WORD]
    return tuple(c)


def random_bits(seed: int, stream: int, step: int, operation: int, count: int) -> list[int]:
    """The first output word of each element."""
    key = (seed & WORD, seed >> 32)
    return [philox((stream, step, operation, element), key)[0] for element in range(count)]


def uniform(bits: int) -> int:
    """The pattern of a word's top 24 bits times 2^-24."""
    return rne32(Fraction(bits >> 8, 1 << 24))
