"""Request bodies as streams: HTTP chunked encoding and multipart/form-data, in bounded memory.

Nothing here trusts a length, a header or a boundary further than a fixed buffer.
"""

from __future__ import annotations

from email.message import Message
from typing import BinaryIO, Final

from protocol.storage.errors import StorageError
from protocol.storage.unixfs import Reader

_LINE: Final = 8 * 1024
_HEADERS: Final = 32
_PIECE: Final = 256 * 1024


class BadRequest(StorageError):
    """The request does not follow HTTP or multipart rules."""


class ChunkedBody:
    """A request body in chunked transfer encoding, as a stream."""

    def __init__(self, wire: BinaryIO) -> None:
        self._wire = wire
        self._left = 0
        self.finished = False

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none only at the end."""
        if self.finished:
            return b""
        if self._left == 0:
            self._left = self._next_chunk()
            if self._left == 0:
                self.finished = True
                return b""
        want = min(self._left, size)
        data = self._wire.read(want)
        if not data:
            raise BadRequest("the body ends inside a chunk.")
        self._left -= len(data)
        if self._left == 0:
            _expect_blank(self._wire)
        return data

    def _next_chunk(self) -> int:
        text = _line(self._wire).split(b";")[0].strip()
        # int() would also take signs, spaces and underscores.
        if not text or len(text) > 15 or text.strip(b"0123456789abcdefABCDEF"):
            raise BadRequest("a chunk does not begin with its size.")
        size = int(text, 16)
        if size == 0:
            for _ in range(_HEADERS):
                if not _line(self._wire).strip():
                    return 0
            raise BadRequest("too many trailers.")
        return size


class LengthBody:
    """A request body of a declared length, as a stream."""

    def __init__(self, wire: BinaryIO, length: int) -> None:
        self._wire = wire
        self._left = length

    @property
    def finished(self) -> bool:
        """Whether the whole body has been read."""
        return self._left == 0

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none only at the end."""
        want = min(self._left, size)
        if want == 0:
            return b""
        data = self._wire.read(want)
        if not data:
            raise BadRequest(f"the body ends {self._left} bytes too early.")
        self._left -= len(data)
        return data


class FilePart:
    """The content of the first part of a multipart body, as a stream.

    Raises `BadRequest` for a body without a part, or one that ends without its closing boundary.
    """

    def __init__(self, body: Reader, boundary: str) -> None:
        if not 1 <= len(boundary) <= 70 or not boundary.isascii():
            raise BadRequest("the multipart boundary must have 1 to 70 ASCII characters.")
        self._body = body
        self._mark = b"\r\n--" + boundary.encode("ascii")
        self._buffer = b"\r\n"  # the first boundary has no line before it
        self._at = 0  # where in the buffer the next byte is
        self._ended = False
        self._find_part()

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none only at the end of the part."""
        while not self._ended:
            if count := min(self._content() - self._at, size):
                data = self._buffer[self._at : self._at + count]  # all of it is no copy
                self._at += count
                return data
            if self._buffer.startswith(self._mark, self._at):
                self._ended = True
                self._finish()
            else:
                self._fill()
        return b""

    def _content(self) -> int:
        """Return where in the buffer the content ends, or what may begin the boundary begins."""
        at = self._buffer.find(self._mark, self._at)
        if at < 0:  # a boundary has one carriage return, its first byte
            at = self._buffer.rfind(b"\r", max(self._at, len(self._buffer) - len(self._mark) + 1))
            if at < 0 or not self._mark.startswith(self._buffer[at:]):
                at = len(self._buffer)
        return at

    def _finish(self) -> None:
        self._skip(len(self._mark))
        while len(self._buffer) < 2:
            self._fill()
        if self._buffer[:2] != b"--":
            raise BadRequest("send one file at a time; folders are not stored here.")
        while self._body.read(_PIECE):
            pass

    def _skip(self, count: int) -> None:
        self._buffer = self._buffer[self._at + count :]
        self._at = 0

    def _fill(self) -> None:
        data = self._body.read(_PIECE)
        if not data:
            raise BadRequest("the multipart body ends without its closing boundary.")
        self._buffer = self._buffer[self._at :] + data  # no copy of the data where nothing is left
        self._at = 0

    def _find_part(self) -> None:
        while len(self._buffer) < len(self._mark) + 2:
            self._fill()
        if not self._buffer.startswith(self._mark + b"\r\n"):
            raise BadRequest("the body does not begin with a part; send one file.")
        self._skip(len(self._mark))
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _LINE:
                raise BadRequest("the headers of the part are too long.")
            self._fill()
        if b"application/x-directory" in self._buffer[:end].lower():
            raise BadRequest("folders are not stored here; send one file.")
        # The blank line stays: an empty part is followed by its boundary at once.
        self._skip(end + 4)


def file_part(body: Reader, content_type: str) -> FilePart:
    """Open the one file of a multipart/form-data body."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_maintype() != "multipart" or not isinstance(boundary, str):
        raise BadRequest("send the data as multipart/form-data.")
    return FilePart(body, boundary)


def _line(wire: BinaryIO) -> bytes:
    line = wire.readline(_LINE)
    if not line.endswith(b"\n"):
        raise BadRequest("a line is cut short or too long.")
    return line


def _expect_blank(wire: BinaryIO) -> None:
    if _line(wire).strip():
        raise BadRequest("a chunk is longer than its size.")
