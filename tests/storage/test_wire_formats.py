"""CAR, multipart and chunked bodies: what is accepted, and how everything else is refused."""

from __future__ import annotations

import io

import pytest

from protocol.storage.car import read_car_blocks, read_car_root, write_car
from protocol.storage.cid import Cid
from protocol.storage.errors import CidMismatch, LimitExceeded
from protocol.storage.node.multipart import BadRequest, ChunkedBody, FilePart
from protocol.storage.node.repo import Repo
from protocol.storage.unixfs import cid_of_bytes


def form(data: bytes) -> bytes:
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="../../x"\r\n\r\n'
    return head + data + b"\r\n--XX--\r\n"


def car_of(*blocks: tuple[Cid, bytes]) -> bytes:
    return b"".join(write_car(blocks[-1][0], blocks))


@pytest.mark.parametrize("spoil", ["cut", "flip", "fat", "header", "zero"])
def test_spoilt_car_is_refused(repo: Repo, spoil: str) -> None:
    data = b"some content"
    cid = cid_of_bytes(data)
    car = car_of((cid, data))
    spoilt = {
        "cut": car[:-1],
        "flip": car[:-1] + b"!",
        "fat": car[:59] + b"\xff\xff\xff\x7f" + car[60:],
        "header": b"\x3b" + car[1:],
        "zero": car + b"\x00",
    }[spoil]
    assert repo.import_car(io.BytesIO(car), pin=False) == cid
    with pytest.raises((CidMismatch, LimitExceeded)):
        repo.import_car(io.BytesIO(spoilt), pin=False)


def drain(stream: FilePart | ChunkedBody) -> bytes:
    return b"".join(iter(lambda: stream.read(64), b""))


def test_reader_hashes_every_block_itself() -> None:
    cid = cid_of_bytes(b"right")
    stream = io.BytesIO(car_of((cid, b"wrong")))
    assert read_car_root(stream) == cid
    with pytest.raises(CidMismatch, match=str(cid)):
        list(read_car_blocks(stream))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("size", [0, 1, 5, 300])
def test_multipart_gives_back_the_content_however_it_is_split(step: int, size: int) -> None:
    content = (b"\r\n--X\r\n--" * 40)[:size]

    class Dribble(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            return super().read(min(count or 0, step))

    assert drain(FilePart(Dribble(form(content)), "XX")) == content


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        b"--XX--\r\n",
        b"--XX\r\nno end of headers",
        b"--XX\r\n" + b"A: b\r\n" * 20_000,
        b"--XX\r\nContent-Type: application/x-directory\r\n\r\n\r\n--XX--\r\n",
        b"--XX\r\n\r\nno boundary",
        b"--XX\r\n\r\none\r\n--XX\r\n\r\ntwo\r\n--XX--\r\n",
    ],
)
def test_malformed_multipart_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        drain(FilePart(io.BytesIO(body), "XX"))


@pytest.mark.parametrize(
    "wire",
    [b"", b"zz\r\n", b"-1\r\n", b"5\r\nab", b"2\r\nabc\r\n", b"f" * 20 + b"\r\n", b"1" * 9000],
)
def test_malformed_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(BadRequest):
        drain(ChunkedBody(io.BytesIO(wire)))
