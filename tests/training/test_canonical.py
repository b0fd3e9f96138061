"""Canonical JSON: one spelling, and nothing else gets through."""

import hashlib
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.training.canonical import (
    MAX_DOCUMENT_BYTES,
    decode_float,
    encode_float,
    encode_json,
    read_document,
    round_to_float32,
)
from protocol.training.errors import ManifestError

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(finite)
def test_float_round_trips_bit_for_bit(value: float) -> None:
    back = decode_float(encode_float(value))
    assert struct.pack("<f", back) == struct.pack("<f", value)


def test_float_is_spelt_as_c99_does() -> None:
    assert encode_float(round_to_float32(0.1)) == "0x1.99999ap-4"
    assert encode_float(1.0) == "0x1p+0"
    assert encode_float(0.0) == "0x0p+0"


@pytest.mark.parametrize("value", [0.1, 1e39, math.inf, math.nan])
def test_float_that_is_not_binary32_is_refused(value: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        encode_float(value)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "0.5",
        "0X1P+0",
        "0x1.0p+0",
        "0x1p0",
        "0x1.999999999999ap-4",
        "inf",
        "nan",
        "0x2p+0",
        "0x1p+128",
        "0x1p-150",
        "0x1p+99999999999999999",
        "",
        " 0x1p+0",
        "0x" + "1" * 5000,
    ],
)
def test_float_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_float(text)


@settings(deadline=None)
@given(values)
def test_document_reads_back_what_was_encoded(value: object) -> None:
    data = encode_json({"value": value})
    read_document(data, "document", ManifestError)
    assert data.isascii()
    assert hashlib.sha256(data).digest() == hashlib.sha256(encode_json({"value": value})).digest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":1} ',
        b' {"a":1}',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.5}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":"\\u0041"}',
        b'{"a":"\xc3\xa9"}',
        b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_document_that_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError):
        read_document(data, "manifest", ManifestError)


def test_document_over_the_limit_is_refused_before_it_is_parsed() -> None:
    data = b" " * (MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(ManifestError) as caught:
        read_document(data, "manifest", ManifestError)
    assert str(MAX_DOCUMENT_BYTES) in caught.value.expected


@pytest.mark.parametrize("bracket", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused_before_a_recursive_parser_sees_it(
    bracket: tuple[bytes, bytes],
) -> None:
    """Where the recursion limit is lifted, a deep document would end the process."""
    opening, closing = bracket
    data = opening * 100_000 + b"1" + closing * 100_000
    with pytest.raises(ManifestError, match="levels of nesting"):
        read_document(data, "manifest", ManifestError)
