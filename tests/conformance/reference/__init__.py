"""The numeric profile once more, slowly, in integers and fractions: the judge of the engine.

Values are binary32 bit patterns (unsigned ints). Every function computes the exact result and
rounds once. INVARIANT: nothing here is shared with the engine, not even a formula's code; only the
standard library and mpmath are used.
"""

from fractions import Fraction

from tests.conformance.reference.binary32 import (
    INFINITY,
    NAN,
    ONE,
    NonFiniteError,
    add,
    div,
    is_finite,
    mul,
    neg,
    rne32,
    sqrt,
    sub,
    value,
)
from tests.conformance.reference.compositions import layer_norm, softmax
from tests.conformance.reference.contraction import gemm
from tests.conformance.reference.functions import exp
from tests.conformance.reference.optimisers import adamw
from tests.conformance.reference.random_words import philox
from tests.conformance.reference.reductions import sum_

__all__ = [
    "INFINITY",
    "NAN",
    "ONE",
    "Fraction",
    "NonFiniteError",
    "adamw",
    "add",
    "div",
    "exp",
    "gemm",
    "is_finite",
    "layer_norm",
    "mul",
    "neg",
    "philox",
    "rne32",
    "softmax",
    "sqrt",
    "sub",
    "sum_",
    "value",
]
