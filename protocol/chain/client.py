"""The one door to the chain: a checked connection, calls, logs, and readable errors.

Everything web3 may change from one release to the next stays in this package.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
import structlog
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import ContractCustomError, ContractLogicError, Web3Exception
from web3.types import RPCEndpoint

from protocol.chain.artifacts import artifact
from protocol.chain.audited import check_deployment
from protocol.chain.beacons import BadHeader, BeaconKind, encode_header
from protocol.chain.deployment import Deployment
from protocol.chain.endpoints import Endpoints
from protocol.chain.errors import ChainDown, ChainError
from protocol.chain.event_codec import EventCodec
from protocol.chain.plan import plan_beacon
from protocol.chain.refusals import refusal
from protocol.rules.history import Event
from protocol.rules.records import Address

log = structlog.get_logger()
T = TypeVar("T")

CONNECT_TRIES = 6
FIRST_WAIT = 0.25  # seconds; doubles: 0.25 + 0.5 + ... + 4 = 7.75 s in all
"""How long a role waits for an RPC endpoint that refuses before it gives up."""
MOST_SECONDS = 25.0
"""Where each try takes its time to fail, none begins after so long: a tick is not held up."""


@dataclass(frozen=True, slots=True)
class Call:
    """One function of one contract with its arguments."""

    contract: Contract
    function: str
    args: tuple[Any, ...]


class Chain:
    """A connection to one deployment, which is checked before anything else is asked.

    `url` names one RPC endpoint, or several separated by commas. Raises ChainDown, WrongChain,
    NotOurMarket, BookDiffers when made.
    """

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
        self.endpoints = Endpoints(url, deployment.chain_id)
        self.web3 = _reached(self.endpoints, sleep)
        self.retrying(lambda: check_deployment(self.web3, deployment))
        self.market = self._contract("JobMarket", deployment.market)
        self.beacon_kind = deployment.config.beacon
        self.beacon = self._contract(self.beacon_kind.value, plan_beacon(self.beacon_kind).address)
        self.vault = self._contract("StakeVault", deployment.vault)
        self.token = self._contract("DevToken", deployment.token)
        self._events = EventCodec(artifact("JobMarket").abi)

    def _contract(self, name: str, address: Address) -> Contract:
        return self.web3.eth.contract(
            address=Web3.to_checksum_address(address), abi=artifact(name).abi
        )

    def retrying(self, action: Callable[[], T]) -> T:
        """Run a read, waiting with back-off while the endpoint is down; said once."""
        return retrying(self.endpoints.name, action, self._sleep)

    def head(self) -> int:
        """Number of the newest block."""
        return self.newest()[0]

    def newest(self) -> tuple[int, int]:
        """(number, Unix time) of the newest block, as the endpoint that lags least has it."""
        self.endpoints.look_around()
        block = self._request("eth_getBlockByNumber", ["latest", False])
        number = int(block["number"], 16)
        self.endpoints.note(number)
        return number, int(block["timestamp"], 16)

    def made_at(self, number: int) -> int | None:
        """Unix time of a block, or None where the endpoint has none of that number."""
        block = self._request("eth_getBlockByNumber", [hex(number), False])
        return int(block["timestamp"], 16) if block else None

    def syncing(self) -> int | None:
        """The block that the endpoint is on its way to, or None where it is at its head."""
        state = self._request("eth_syncing", [])
        return int(state["highestBlock"], 16) if state else None

    def header(self, number: int) -> tuple[bytes, bytes] | None:
        """(hash, parent hash) of a block, or None where the endpoint has none of that number."""
        block = self._request("eth_getBlockByNumber", [hex(number), False])
        if not block:
            return None
        return bytes.fromhex(block["hash"][2:]), bytes.fromhex(block["parentHash"][2:])

    def encoded_header(self, number: int) -> bytes:
        """A block's header in RLP, which hashes to the block's hash; raises BadHeader."""
        block = self._request("eth_getBlockByNumber", [hex(number), False])
        if not block:
            raise BadHeader(number, "The endpoint has no block of that number.")
        return encode_header(block)

    def awaits_proof(self, number: int) -> bool:
        """Whether a block is there, and the market's beacon has still to be shown its header."""
        if self.beacon_kind != BeaconKind.PREVRANDAO or self.head() < number:
            return False
        ready, _ = self.call(self.beacon, "read", number, block="pending")
        return not ready

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

    def receipt(self, transaction: str) -> dict[str, Any] | None:
        """The raw receipt of a transaction, or None while it is not mined."""
        found: dict[str, Any] | None = self._request("eth_getTransactionReceipt", [transaction])
        return found

    def nonce(self, address: Address) -> int:
        """How many transactions of a key are mined."""
        return int(self._request("eth_getTransactionCount", [address, "latest"]), 16)

    def balance(self, address: Address) -> int:
        """Wei of an account."""
        return int(self._request("eth_getBalance", [address, "latest"]), 16)

    def fee_history(self, blocks: int) -> dict[str, Any]:
        """Raw base fees, fullness and middle tips of the newest blocks."""
        found: dict[str, Any] = self._request("eth_feeHistory", [hex(blocks), "latest", [50]])
        return found

    def genesis(self) -> bytes:
        """Hash of the first block: what tells two chains of one number apart."""
        header = self.header(0)
        if header is None:
            raise ChainError(f"{self.endpoints.name} does not show the chain's first block")
        return header[0]

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
        return self._events.decode(raw)

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
            raise refusal(function, error) from None

    def attempt(
        self, call: Call, *, sender: Address | None = None, block: str | int = "latest"
    ) -> None:
        """See whether a transaction would succeed; raises ContractRejected with its values.

        What it would return is not read: there are tokens that return nothing where they should.
        """
        bound = call.contract.get_function_by_name(call.function)(*call.args)
        data = bound._encode_transaction_data()
        self.try_data(call.function, call.contract.address, data, sender, block)

    def try_data(
        self,
        function: str,
        to: str,
        data: str,
        sender: Address | None,
        block: str | int = "latest",
    ) -> None:
        """`attempt` for a call that is encoded already."""
        fields: Any = {"to": to, "data": data}
        if sender is not None:
            fields["from"] = Web3.to_checksum_address(sender)
        try:
            self.retrying(lambda: self.web3.eth.call(fields, block))  # type: ignore[arg-type]  # a word or a number
        except (ContractCustomError, ContractLogicError) as error:
            raise refusal(function, error) from None


def connect(url: str, chain_id: int | None, *, sleep: Callable[[float], None] = time.sleep) -> Web3:
    """A web3 whose endpoint answers and serves `chain_id` (None: any); its own retries are off."""
    return _reached(Endpoints(url, chain_id), sleep)


def _reached(endpoints: Endpoints, sleep: Callable[[float], None]) -> Web3:
    web3 = Web3(endpoints)
    # It asks for the chain's number before and after every call, which `Endpoints` checks once.
    web3.middleware_onion.remove("validation")
    retrying(endpoints.name, lambda: web3.eth.chain_id, sleep)
    return web3


def retrying(url: str, action: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Run a read; on a dead connection wait, doubling, then raise ChainDown."""
    wait, began = FIRST_WAIT, time.monotonic()
    for attempt in range(CONNECT_TRIES):
        try:
            return action()
        except requests.RequestException as error:
            late = time.monotonic() - began + wait > MOST_SECONDS
            if late or attempt == CONNECT_TRIES - 1:
                raise ChainDown(url, str(error) or type(error).__name__) from None
            if attempt == 0:
                log.warning("the chain does not answer, trying again", url=url)
            sleep(wait)
            wait *= 2
        except Web3Exception as error:
            if isinstance(error, ContractLogicError):
                raise
            raise ChainError(f"the chain at {url} refused a request", why=str(error)) from error
    raise AssertionError("unreachable")
