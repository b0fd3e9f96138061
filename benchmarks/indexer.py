"""How long 100,000 events take to index, on SQLite and on PostgreSQL.

    python benchmarks/indexer.py [--events 100000] [--per-block 20]

A real round is played on a real anvil and its events are kept; an endpoint of its own process then
serves copies of them, each for a job of its own and in blocks of its own, as `eth_getLogs` would.
Measured: reading everything into an empty database, and folding it again after a restart. Both end
with the same history. Exit code 1 where reading takes longer than 60 s per 100,000 events.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eth_account import Account

from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, start_anvil
from protocol.chain.client import Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.indexer import NEAR, Indexer
from protocol.chain.market_config import DEV_CONFIG
from protocol.database.opening import open_database
from protocol.rules.records import Windows
from tests.support.metered import Metered, Setting
from tests.support.postgres import run_postgres
from tests.support.rpc_proxy import run_proxy

TARGET_SECONDS = 60.0
Log = dict[str, Any]


def play_round(chain: Chain) -> tuple[list[Log], list[Log]]:
    """Logs of enrolment, and of one job with one round of 16 tasks."""
    setting = Setting(tasks=16, checks=3, slots=4, rounds=1, verifiers=14)
    play = Metered(chain, setting)
    play.raise_curtain()
    before = chain.head()
    windows = Windows(*[100] * 11)
    play.open_round(tasks=16, checks=3, rounds=1, min_workers=4, windows=windows)
    play.honest_round()
    first = chain.deployment.block
    return chain.logs(first, before), chain.logs(before + 1, chain.head())


def block_hash(number: int) -> str:
    return "0x" + hashlib.sha256(b"block %d" % number).hexdigest()


def copies(enrolment: list[Log], job: list[Log], events: int, per_block: int) -> Iterator[Log]:
    """`events` logs in blocks of `per_block`: the enrolment, then the job again and again."""
    first = int(enrolment[0]["blockNumber"], 16)
    numbers = ((number, log) for number in range(1, events) for log in job)
    stream = [(0, log) for log in enrolment]
    for count in range(events):
        number, log = stream[count] if count < len(stream) else next(numbers)
        block = first + count // per_block
        topics = list(log["topics"])
        if number:
            topics[1] = f"0x{number:064x}"  # every event of a job names it first
        yield log | {
            "topics": topics,
            "blockNumber": hex(block),
            "blockHash": block_hash(block),
            "logIndex": hex(count % per_block),
        }


def serve(upstream: str, logs: list[Log], channel: Any) -> None:
    """An endpoint whose chain has these logs; everything else is asked of `upstream`."""
    by_block: dict[int, list[Log]] = {}
    for log in logs:
        by_block.setdefault(int(log["blockNumber"], 16), []).append(log)
    by_hash = {block_hash(number): found for number, found in by_block.items()}
    head = max(by_block) + NEAR

    def header(params: list[Any], _result: Any) -> Any:
        number = head if params[0] == "latest" else int(params[0], 16)
        hashes = {"hash": block_hash(number), "parentHash": block_hash(number - 1)}
        return {"number": hex(number), "timestamp": hex(number), **hashes}

    def found(params: list[Any], _result: Any) -> Any:
        where = params[0]
        if "blockHash" in where:
            return by_hash.get(where["blockHash"], [])
        span = range(int(where["fromBlock"], 16), int(where["toBlock"], 16) + 1)
        return [log for number in span for log in by_block.get(number, [])]

    with run_proxy(upstream) as proxy:
        proxy.answers["eth_getLogs"] = found
        proxy.answers["eth_getBlockByNumber"] = header
        channel.send(proxy.url)
        channel.recv()


def measure(chain: Chain, place: Any) -> tuple[float, float, Any]:
    """Seconds to read everything, seconds to fold it again, and the history."""
    began = time.perf_counter()
    indexer = Indexer(chain, open_database(place))
    history = indexer.sync()
    read = time.perf_counter() - began
    began = time.perf_counter()
    again = Indexer(chain, indexer.engine)
    folded = time.perf_counter() - began
    assert again.history == history
    indexer.engine.dispose()
    return read, folded, history


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--per-block", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        anvil = start_anvil(scratch / "anvil.log", block_time=None)
        stack.callback(anvil.stop)
        deployment = deploy(
            connect(anvil.url, DEV_CHAIN_ID), Account.from_key(FAUCET_KEY), DEV_CONFIG
        )
        enrolment, job = play_round(Chain(anvil.url, deployment))
        logs = list(copies(enrolment, job, args.events, args.per_block))
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(anvil.url, logs, theirs))
        server.start()
        stack.callback(server.join)
        stack.callback(ours.send, None)
        chain = Chain(ours.recv(), deployment)
        figures: dict[str, tuple[float, float]] = {}
        histories = []
        for name, place in (
            ("SQLite", scratch / "chain.sqlite"),
            ("PostgreSQL", stack.enter_context(run_postgres())),
        ):
            read, folded, history = measure(chain, place)
            figures[name] = read, folded
            histories.append(history)
            print(f"{name:<11} read {read:6.1f} s  folded again {folded:6.1f} s")
        assert histories[0] == histories[1]
        jobs = len(histories[0].jobs)
    print(f"{args.events} events of {jobs} jobs, {len(job)} a job, {args.per_block} a block")
    if args.json:
        args.json.write_text(json.dumps({"events": args.events, **figures}) + "\n")
    allowed = TARGET_SECONDS * args.events / 100_000
    return 0 if all(read <= allowed for read, _ in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
