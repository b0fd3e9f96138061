"""The one door to the chain: a checked connection, calls, logs, and readable errors.

Everything web3 may change from one release to the next stays in this package.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import requests
import structlog
from eth_abi.abi import decode
from web3 import Web3
from web3._utils.events import get_event_data
from web3.contract import Contract
from web3.exceptions import ContractCustomError, ContractLogicError, Web3Exception
from web3.providers.rpc import HTTPProvider
from web3.types import RPCEndpoint

from protocol.chain.artifacts import artifact, check_code
from protocol.chain.deployment import Deployment
from protocol.chain.errors import ChainDown, ChainError, ContractRejected, WrongChain
from protocol.rules.history import Event
from protocol.rules.records import Address

log = structlog.get_logger()
T = TypeVar("T")

CONNECT_TRIES = 6
FIRST_WAIT = 0.25  # seconds; doubles: 0.25 + 0.5 + ... + 4 = 7.75 s in all
"""How long a role waits for an RPC endpoint that does not answer before it gives up."""


class Chain:
    """A connection to one deployment; raises ChainDown, WrongChain, NotOurMarket when made."""

    def __init__(
        self,
        url: str,
        deployment: Deployment,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self.deployment = deployment
        self._sleep = sleep
        self.web3 = connect(url, deployment.chain_id, sleep=sleep)
        for name, address in (("JobMarket", deployment.market), ("StakeVault", deployment.vault)):
            check_code(name, address, self._code_of)
        self.market = self._contract("JobMarket", deployment.market)
        self.vault = self._contract("StakeVault", deployment.vault)
        self.token = self._contract("DevToken", deployment.token)
        self._errors = _error_table()
        self._events = {
            bytes(Web3.keccak(text=_signature(entry))): entry
            for entry in artifact("JobMarket").abi
            if entry["type"] == "event"
        }

    def _code_of(self, address: Address) -> bytes:
        return bytes(self.web3.eth.get_code(Web3.to_checksum_address(address)))

    def _contract(self, name: str, address: Address) -> Contract:
        return self.web3.eth.contract(
            address=Web3.to_checksum_address(address), abi=artifact(name).abi
        )

    def retrying(self, action: Callable[[], T]) -> T:
        """Run a read, waiting with back-off while the endpoint is down; said once."""
        return retrying(self.url, action, self._sleep)

    def head(self) -> int:
        """Number of the newest block."""
        return self.retrying(lambda: int(self.web3.eth.block_number))

    def header(self, number: int) -> tuple[bytes, bytes] | None:
        """(hash, parent hash) of a block, or None where the endpoint has none of that number."""
        block = self._request("eth_getBlockByNumber", [hex(number), False])
        if not block:
            return None
        return bytes.fromhex(block["hash"][2:]), bytes.fromhex(block["parentHash"][2:])

    def logs(self, first: int, last: int) -> list[dict[str, Any]]:
        """Raw logs of the market in a range of blocks, both ends included."""
        return self._logs({"fromBlock": hex(first), "toBlock": hex(last)})

    def logs_of_block(self, block_hash: bytes) -> list[dict[str, Any]]:
        """Raw logs of the market in one block, named by hash so that a reorg cannot mix two."""
        return self._logs({"blockHash": "0x" + block_hash.hex()})

    def _logs(self, where: dict[str, str]) -> list[dict[str, Any]]:
        query = {**where, "address": self.deployment.market}
        found: list[dict[str, Any]] = self._request("eth_getLogs", [query])
        return found

    def _request(self, method: str, params: list[Any]) -> Any:
        """One raw JSON-RPC read."""
        raw = self.retrying(lambda: self.web3.provider.make_request(RPCEndpoint(method), params))
        if "error" in raw:
            raise ChainError(f"the chain refused {method}", why=str(raw["error"]))
        return raw["result"]

    def set_balance(self, address: Address, wei: int) -> None:
        """Decree a balance; only a development chain obeys."""
        self._request("anvil_setBalance", [address, hex(wei)])

    def events_of(self, transaction: str) -> list[Event]:
        """The market's events in one mined transaction."""
        receipt = self._request("eth_getTransactionReceipt", [transaction])
        market = self.deployment.market.lower()
        return [self.decode(raw) for raw in receipt["logs"] if raw["address"].lower() == market]

    def decode(self, raw: dict[str, Any]) -> Event:
        """A typed event from a raw log."""
        topics = [bytes.fromhex(topic[2:]) for topic in raw["topics"]]
        entry = self._events[topics[0]]
        data = get_event_data(
            self.web3.codec,
            entry,
            {
                "topics": [Web3.to_bytes(topic) for topic in topics],
                "data": Web3.to_bytes(hexstr=raw["data"]),
                "address": raw["address"],
                "logIndex": int(raw["logIndex"], 16),
                "transactionIndex": int(raw["transactionIndex"], 16),
                "transactionHash": Web3.to_bytes(hexstr=raw["transactionHash"]),
                "blockHash": Web3.to_bytes(hexstr=raw["blockHash"]),
                "blockNumber": int(raw["blockNumber"], 16),
            },
        )
        return Event(
            name=data["event"],
            args=dict(data["args"]),
            block=data["blockNumber"],
            log=data["logIndex"],
            transaction="0x" + bytes(data["transactionHash"]).hex(),
        )

    def call(
        self,
        contract: Contract,
        function: str,
        *args: Any,
        block: str | int = "latest",
        **fields: Any,
    ) -> Any:
        """Evaluate a function without sending it; raises ContractRejected with its values."""
        bound = contract.get_function_by_name(function)(*args)
        try:
            return self.retrying(lambda: bound.call(fields, block_identifier=block))
        except (ContractCustomError, ContractLogicError) as error:
            raise self.rejection(function, error) from None

    def rejection(self, function: str, error: Exception) -> ChainError:
        """The contract's custom error behind a web3 exception."""
        data = getattr(error, "data", None)
        if isinstance(data, str) and data.startswith("0x") and len(data) >= 10:
            entry = self._errors.get(bytes.fromhex(data[2:10]))
            if entry is not None:
                types = [_type(i) for i in entry["inputs"]]
                values = decode(types, bytes.fromhex(data[10:]))
                names = [i["name"] for i in entry["inputs"]]
                shown = [
                    v.rstrip(b"\0").decode() if isinstance(v, bytes) and n == "name" else v
                    for n, v in zip(names, values, strict=True)
                ]
                return ContractRejected(
                    function, entry["name"], dict(zip(names, shown, strict=True))
                )
        return ContractRejected(function, "Reverted", {"message": str(error)})


def connect(url: str, chain_id: int, *, sleep: Callable[[float], None] = time.sleep) -> Web3:
    """A web3 whose endpoint answers and serves `chain_id`; its own retries are off."""
    web3 = Web3(
        HTTPProvider(url, request_kwargs={"timeout": 10}, exception_retry_configuration=None)
    )
    found = retrying(url, lambda: int(web3.eth.chain_id), sleep)
    if found != chain_id:
        raise WrongChain(url, chain_id, found)
    return web3


def retrying(url: str, action: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Run a read; on a dead connection wait, doubling, then raise ChainDown."""
    wait = FIRST_WAIT
    for attempt in range(CONNECT_TRIES):
        try:
            return action()
        except (requests.ConnectionError, requests.Timeout, requests.HTTPError) as error:
            if attempt == CONNECT_TRIES - 1:
                raise ChainDown(url, type(error).__name__) from None
            if attempt == 0:
                log.warning("the chain does not answer, trying again", url=url)
            sleep(wait)
            wait *= 2
        except Web3Exception as error:
            if isinstance(error, ContractLogicError):
                raise
            raise ChainError(f"the chain at {url} refused a request", why=str(error)) from error
    raise AssertionError("unreachable")


def _type(entry: dict[str, Any]) -> str:
    """Canonical ABI type, tuples spelled out."""
    kind: str = entry["type"]
    if kind.startswith("tuple"):
        inner = ",".join(_type(c) for c in entry["components"])
        return f"({inner}){kind.removeprefix('tuple')}"
    return kind


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(_type(i) for i in entry['inputs'])})"


def _error_table() -> dict[bytes, dict[str, Any]]:
    entries: Sequence[dict[str, Any]] = [
        entry
        for name in ("JobMarket", "StakeVault", "DevToken")
        for entry in artifact(name).abi
        if entry["type"] == "error"
    ]
    return {bytes(Web3.keccak(text=_signature(entry))[:4]): entry for entry in entries}
