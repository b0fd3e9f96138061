"""The peers' port: a trustless gateway over the blocks that are here.

Read only. It sends blocks and whole DAGs, never files rendered for a browser, and never fetches
anything on request, so nobody can make it work for them or use it to reach other hosts.

Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/
"""

# ruff: noqa: N802, N815 -- http.server finds the methods by these names
from __future__ import annotations

from http import HTTPStatus
from typing import Final

from protocol.storage.cid import Cid
from protocol.storage.errors import MalformedCid, NotFound, StorageError
from protocol.storage.node.multipart import BadRequest
from protocol.storage.node.server import Handler

_KINDS: Final = {
    "raw": "application/vnd.ipld.raw",
    "car": "application/vnd.ipld.car",
}
_SUFFIXES: Final = {"raw": "bin", "car": "car"}


class GatewayHandler(Handler):
    """Answer `GET` and `HEAD` of `/ipfs/<cid>?format=raw|car`."""

    def do_GET(self) -> None:
        """Send one block or one DAG."""
        try:
            self._serve()
        except NotFound as error:
            self._fail(HTTPStatus.NOT_FOUND, str(error))
        except (BadRequest, MalformedCid) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except StorageError as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Refuse: nothing can be changed here."""
        self.close_connection = True
        self._fail(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered here.")

    do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_POST

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self.reply(status, message.encode() + b"\n", "text/plain; charset=utf-8", {})

    def _format(self, fields: list[tuple[str, str]]) -> str:
        chosen = dict(fields).get("format")
        if chosen is None:
            accepted = self.headers.get("Accept", "")
            chosen = next((name for name, kind in _KINDS.items() if kind in accepted), None)
        if chosen not in _KINDS:
            raise BadRequest("this gateway serves ?format=raw and ?format=car only.")
        return chosen

    def _serve(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise BadRequest("a request here has no body.")
        path, fields = self.split()
        if not path.startswith("/ipfs/"):
            raise BadRequest("ask for /ipfs/<cid>.")
        cid = Cid.parse(path.removeprefix("/ipfs/"))
        form = self._format(fields)
        headers = {
            "Cache-Control": "public, max-age=29030400, immutable",
            "Content-Disposition": f'attachment; filename="{cid}.{_SUFFIXES[form]}"',
            "Etag": f'"{cid}.{form}"',
            "X-Ipfs-Path": f"/ipfs/{cid}",
        }
        if form == "raw":
            self.reply(200, self.repo.blocks.get(cid), _KINDS[form], headers)
        else:
            self.reply_stream(self.repo.export_car(cid), _KINDS[form], headers)
