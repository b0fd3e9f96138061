"""The owner's port: the subset of Kubo's RPC that the store and `ipfs`-like tools use.

Only POST, only on loopback, never for a browser: a request with an Origin, or for another host
name than loopback's, is refused, since any web page could send it.

Source: https://docs.ipfs.tech/reference/kubo/rpc/
"""

# ruff: noqa: N802, N815 -- http.server finds the methods by these names
from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import BinaryIO, Final, cast
from urllib.parse import urlsplit

from protocol.storage.cid import DAG_PB, RAW, Cid
from protocol.storage.errors import MalformedCid, NotFound, StorageError
from protocol.storage.node.multipart import (
    BadRequest,
    ChunkedBody,
    FilePart,
    LengthBody,
    file_part,
)
from protocol.storage.node.server import Handler
from protocol.storage.unixfs import MAX_BLOCK, UNIXFS_V1_2025

PREFIX: Final = "/api/v0/"
VERSION: Final = "0.7.0"  # what ipfshttpclient 0.7 takes for a daemon it knows

_DRAIN: Final = 64 * 1024 * 1024
_PIECE: Final = 64 * 1024
_PROFILE: Final = {
    "cid-version": "1",
    "raw-leaves": "true",
    "chunker": f"size-{UNIXFS_V1_2025.chunk_size}",
    "max-file-links": str(UNIXFS_V1_2025.max_links),
    "hash": "sha2-256",
    "trickle": "false",
    "wrap-with-directory": "false",
    "nocopy": "false",
    "inline": "false",
}


class _Forbidden(StorageError):
    """The request comes from where no owner's tool would send it."""


class RpcHandler(Handler):
    """Answer RPC commands; errors in Kubo's form."""

    def do_POST(self) -> None:
        """Run one command."""
        self._options: dict[str, str] = {}
        self._arguments: list[str] = []
        self._body: ChunkedBody | LengthBody = LengthBody(cast(BinaryIO, self.rfile), 0)
        try:
            self._refuse_browsers()
            self._body = self.body()
            self._run()
        except (ConnectionError, TimeoutError):
            raise  # the client is gone
        except _Forbidden as error:
            self._fail(HTTPStatus.FORBIDDEN, str(error))
        except (BadRequest, MalformedCid, ValueError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except (StorageError, OSError) as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def do_GET(self) -> None:
        """Refuse: a link or an image could send it."""
        self._body = LengthBody(cast(BinaryIO, self.rfile), 0)
        self._fail(HTTPStatus.METHOD_NOT_ALLOWED, "only POST is answered here.")

    do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_GET

    def _fail(self, status: HTTPStatus, message: str) -> None:
        # What is left of a body would be taken for the next request.
        self.close_connection = True
        self.reply_json({"Message": message, "Code": 0, "Type": "error"}, status=status)
        # A client that is still sending sees the reply only if somebody listens to its end.
        with suppress(BadRequest):
            left = _DRAIN
            while left > 0 and (data := self._body.read(_PIECE)):
                left -= len(data)

    def _refuse_browsers(self) -> None:
        if "Origin" in self.headers or "Sec-Fetch-Site" in self.headers:
            raise _Forbidden("requests from web pages are refused.")
        host = urlsplit("//" + self.headers.get("Host", "")).hostname or ""
        if host != "localhost" and not _is_loopback(host):
            raise _Forbidden(f"{host!r} is not a loopback host name.")

    def _run(self) -> None:
        path, fields = self.split()
        for name, value in fields:
            if name == "arg":
                self._arguments.append(value)
            else:
                self._options[name] = value
        command = path.removeprefix(PREFIX).rstrip("/")
        run = _COMMANDS.get(command) if path.startswith(PREFIX) else None
        if run is None:
            self._fail(HTTPStatus.NOT_FOUND, f"the embedded node has no command {path!r}.")
            return
        run(self)
        if not self._body.finished and self._body.read(1):
            self.close_connection = True

    def _cid(self) -> Cid:
        if len(self._arguments) != 1:
            raise BadRequest("give exactly one arg, a CID.")
        return Cid.parse(self._arguments[0].removeprefix("/ipfs/"))

    def _flag(self, name: str, default: bool) -> bool:
        value = self._options.get(name, str(default)).lower()
        if value not in ("true", "false"):
            raise BadRequest(f"{name} must be true or false.")
        return value == "true"

    def _file(self) -> FilePart:
        return file_part(self._body, self.headers.get("Content-Type", ""))

    def version(self) -> None:
        """Name a version that clients know."""
        self.reply_json(
            {"Version": VERSION, "Commit": "", "Repo": "11", "System": "", "Golang": ""}
        )

    def id(self) -> None:
        """Say who answers; the node is no peer of any network."""
        self.reply_json(
            {"ID": "", "PublicKey": "", "Addresses": [], "AgentVersion": self.server_version}
        )

    def add(self) -> None:
        """Import a file in the one profile; other import options are refused, not ignored."""
        for name, value in _PROFILE.items():
            if self._options.get(name, value).lower() != value:
                raise BadRequest(f"{name}={self._options[name]}: only {value} is supported here.")
        only_hash = self._flag("only-hash", False)
        cid, size = self.repo.add(self._file(), pin=self._flag("pin", True), only_hash=only_hash)
        total = UNIXFS_V1_2025.total(size, UNIXFS_V1_2025.height(size))
        self.reply_json({"Name": str(cid), "Hash": str(cid), "Size": str(total)})

    def cat(self) -> None:
        """Send the content of a file."""
        offset = int(self._options.get("offset", "0"))
        length = int(self._options.get("length", "-1"))
        if offset < 0 or length < -1:
            raise BadRequest("offset and length must not be negative.")
        pieces = _window(self.repo.read(self._cid()), offset, length)
        self.reply_stream(pieces, "text/plain", {})

    def ls(self) -> None:
        """List the links of a block."""
        cid = self._cid()
        links = [
            {"Name": "", "Hash": str(child), "Size": 0, "Type": 2, "Target": ""}
            for child in self.repo.children(cid)
        ]
        self.reply_json({"Objects": [{"Hash": str(cid), "Links": links}]})

    def block_get(self) -> None:
        """Send one block."""
        self.reply(200, self.repo.blocks.get(self._cid()), "application/octet-stream", {})

    def block_put(self) -> None:
        """Keep one block."""
        codec = self._options.get("cid-codec", self._options.get("format", "raw"))
        if codec not in ("raw", "dag-pb") or self._options.get("mhtype", "sha2-256") != "sha2-256":
            raise BadRequest("a block is raw or dag-pb, with sha2-256.")
        part = self._file()
        block = bytearray()
        while data := part.read(MAX_BLOCK):
            block += data
            if len(block) > MAX_BLOCK:
                raise BadRequest(f"a block has at most {MAX_BLOCK} bytes.")
        cid = Cid.of_block(RAW if codec == "raw" else DAG_PB, block)
        self.repo.put(cid, bytes(block), pin=self._flag("pin", False))
        self.reply_json({"Key": str(cid), "Size": len(block)})

    def block_stat(self) -> None:
        """Tell the size of one block."""
        cid = self._cid()
        size = self.repo.blocks.size(cid)
        if size is None:
            raise NotFound(f"block {cid} was not found locally.")
        self.reply_json({"Key": str(cid), "Size": size})

    def dag_import(self) -> None:
        """Keep the blocks of a CAR and pin its root."""
        root = self.repo.import_car(self._file(), pin=self._flag("pin-roots", True))
        self.reply_json({"Root": {"Cid": {"/": str(root)}, "PinErrorMsg": ""}})

    def dag_export(self) -> None:
        """Send a whole DAG as a CAR."""
        self.reply_stream(self.repo.export_car(self._cid()), "application/vnd.ipld.car", {})

    def pin_add(self) -> None:
        """Pin a DAG that is wholly here, `expires-in` seconds or for ever."""
        cid = self._cid()
        expires = self._options.get("expires-in")
        self.repo.pin(cid, None if expires is None else float(int(expires)))
        self.reply_json({"Pins": [str(cid)]})

    def pin_rm(self) -> None:
        """Unpin."""
        cid = self._cid()
        if not self.repo.pins.remove(cid):
            raise NotFound(f"{cid} is not pinned or pinned indirectly.")
        self.reply_json({"Pins": [str(cid)]})

    def pin_ls(self) -> None:
        """List pins, all of them recursive, or look one up."""
        pins = self.repo.pins.live()
        if self._arguments:
            cid = self._cid()
            if cid not in pins:
                raise NotFound(f"path '{cid}' is not pinned")
            pins = {cid: pins[cid]}
        self.reply_json({"Keys": {str(cid): {"Type": "recursive"} for cid in pins}})

    def repo_stat(self) -> None:
        """Tell how much is stored, and how much may be."""
        blocks = self.repo.blocks
        stat: dict[str, object] = {"RepoSize": blocks.used, "StorageMax": blocks.quota}
        stat |= {"NumObjects": blocks.count, "RepoPath": str(self.repo.root), "Version": "11"}
        self.reply_json(stat)

    def repo_gc(self) -> None:
        """Collect garbage; blocks are named as raw, since a digest does not tell its codec."""
        gone = [{"Key": {"/": str(Cid.raw(digest))}} for digest in self.repo.collect()]
        self.reply_json(*gone)

    def refs(self) -> None:
        """Send the CIDs that a block links to, or that the whole DAG does."""
        cid = self._cid()
        if self._flag("recursive", False):
            below: Iterable[Cid] = itertools.islice(self.repo.walk(cid), 1, None)
        else:
            below = self.repo.children(cid)
        lines = (json.dumps({"Ref": str(one), "Err": ""}).encode() + b"\n" for one in below)
        self.reply_stream(lines, "application/json", {})


_COMMANDS: Final[dict[str, Callable[[RpcHandler], None]]] = {
    "version": RpcHandler.version,
    "id": RpcHandler.id,
    "add": RpcHandler.add,
    "cat": RpcHandler.cat,
    "ls": RpcHandler.ls,
    "refs": RpcHandler.refs,
    "block/get": RpcHandler.block_get,
    "block/put": RpcHandler.block_put,
    "block/stat": RpcHandler.block_stat,
    "dag/import": RpcHandler.dag_import,
    "dag/export": RpcHandler.dag_export,
    "pin/add": RpcHandler.pin_add,
    "pin/rm": RpcHandler.pin_rm,
    "pin/ls": RpcHandler.pin_ls,
    "repo/stat": RpcHandler.repo_stat,
    "repo/gc": RpcHandler.repo_gc,
}


def _window(pieces: Iterator[bytes], offset: int, length: int) -> Iterator[bytes]:
    """Yield `length` bytes (-1: all) from `offset` on."""
    for piece in pieces:
        part = piece[offset:]
        offset = max(0, offset - len(piece))
        if length >= 0:
            part = part[:length]
            length -= len(part)
        if part:
            yield part
        if length == 0:
            return


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
