"""Raw HTTP to an embedded node, as any program could send it."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

from protocol.storage.node import NodeProcess


def ask(
    url: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        connection.close()


def call(node: NodeProcess, command: str, body: bytes = b"", **headers: str) -> list[object]:
    status, _, content = ask(node.api_url, "POST", f"/api/v0/{command}", body, **headers)
    assert status == 200, content
    return [json.loads(line) for line in content.splitlines()]


def form(data: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="../../x"\r\n\r\n'
    return head + data + b"\r\n--XX--\r\n", {"Content_Type": "multipart/form-data; boundary=XX"}
