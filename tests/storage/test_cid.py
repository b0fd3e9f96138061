"""Content identifiers: one spelling each, and nothing else is taken for one."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import MalformedCid

HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


@given(st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32))
def test_cid_round_trips_through_both_forms(codec: int, digest: bytes) -> None:
    cid = Cid(codec, digest)
    assert Cid.parse(str(cid)) == cid
    assert Cid.from_bytes(bytes(cid)) == cid
    assert len(bytes(cid)) == 36
    assert len(str(cid)) == 59


def test_cid_of_known_block_is_the_public_one() -> None:
    digest = hashlib.sha256(b"hello world").digest()
    assert str(Cid.raw(digest)) == HELLO
    assert Cid.parse(HELLO).matches(b"hello world")
    assert not Cid.parse(HELLO).matches(b"hello worlds")


def _text(data: bytes) -> str:
    return "b" + base64.b32encode(data).decode().lower().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        HELLO.upper(),
        HELLO + "a",
        HELLO[:-1],
        HELLO[:-1] + "f",  # the same bits but for the spare ones
        "z" + HELLO[1:],
        HELLO[:-2] + "é" + HELLO[-1],
        HELLO[:-2] + "1e",
        HELLO[:-1] + "=",
        HELLO[:-1] + "\n",
        "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD",
        _text(b"\x02\x55\x12\x20" + bytes(32)),
        _text(b"\x01\x71\x12\x20" + bytes(32)),
        _text(b"\x01\x55\x13\x20" + bytes(32)),
        _text(b"\x01\x55\x12\x1f" + bytes(32)),
        "/ipfs/" + HELLO,
        "../" * 20,
        "b" + "a" * 10_000_000,
    ],
)
def test_parse_refuses_everything_else(text: str) -> None:
    with pytest.raises(MalformedCid) as caught:
        Cid.parse(text)
    assert len(str(caught.value)) < 400


@given(st.text(max_size=70))
def test_parse_accepts_only_what_it_prints(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except MalformedCid:
        return
    assert str(cid) == text


def test_constructor_refuses_short_digest_and_unknown_codec() -> None:
    with pytest.raises(MalformedCid):
        Cid(RAW, bytes(31))
    with pytest.raises(MalformedCid):
        Cid(0x71, bytes(32))
