"""Run the embedded node in the foreground until SIGTERM, SIGINT or, if asked, its parent's end."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

from protocol.storage.errors import StorageError
from protocol.storage.node.gateway import GatewayHandler
from protocol.storage.node.repo import DEFAULT_QUOTA, GRACE_SECONDS, Repo
from protocol.storage.node.rpc import RpcHandler
from protocol.storage.node.server import NodeServer


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m protocol.storage.node", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder for blocks and pins")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address of the RPC")
    parser.add_argument("--port", type=int, default=0, help="port of the RPC; 0 takes a free one")
    parser.add_argument("--gateway-host", default="127.0.0.1", help="address of the gateway")
    parser.add_argument("--gateway-port", type=int, default=0, help="port of the gateway")
    parser.add_argument("--quota", type=int, default=DEFAULT_QUOTA, help="bytes of blocks to keep")
    parser.add_argument(
        "--grace", type=float, default=GRACE_SECONDS, help="seconds an unpinned block is kept"
    )
    parser.add_argument("--ready-file", type=Path, help="where to write the addresses, as JSON")
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when whoever started this is gone"
    )
    options = parser.parse_args(arguments)
    if not ip_address(options.host).is_loopback:
        parser.error(
            "--host must be a loopback address: whoever reaches the RPC owns the node. "
            "Serve peers from --gateway-host."
        )
    return options


def _serve(options: argparse.Namespace, stop: threading.Event) -> None:
    with ExitStack() as stack:
        repo = Repo(options.root, options.quota, options.grace)
        stack.callback(repo.close)
        ports = (
            (options.host, options.port, RpcHandler),
            (options.gateway_host, options.gateway_port, GatewayHandler),
        )
        servers = [
            stack.enter_context(NodeServer(host, port, handler, repo))
            for host, port, handler in ports
        ]
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
        ready = {"api_url": servers[0].url, "gateway_url": servers[1].url, "pid": os.getpid()}
        text = json.dumps(ready) + "\n"
        if options.ready_file:
            fresh = options.ready_file.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(options.ready_file)
        sys.stdout.write(text)
        sys.stdout.flush()
        stop.wait()


def main(arguments: list[str] | None = None) -> int:
    """Serve one folder; return the exit status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    if options.until_stdin_closes:

        def watch() -> None:
            while os.read(0, 4096):
                pass
            stop.set()

        threading.Thread(target=watch, daemon=True).start()
    try:
        _serve(options, stop)
    except (StorageError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
