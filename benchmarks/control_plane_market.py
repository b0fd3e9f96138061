"""A market on an anvil that makes a block when it is told to, and its people's money.

The contracts are the real ones. Anybody may send as anybody; what is sent waits until the next
block, which takes all of it: the block's gas limit is out of the way, so that a phase takes as many
blocks at every size. What one transaction carries is what the roles put into it, and no receipt may
say that it failed.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, Anvil, start_anvil
from protocol.chain.artifacts import artifact
from protocol.chain.client import Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.signatures import signature
from protocol.rules.economics import required_escrow, smallest_bond, smallest_coordinator_bond
from protocol.rules.records import Address, Terms, Windows

BLOCK_GAS = 10**11
TRANSACTION_GAS = 16_000_000
"""What one transaction may take; chains allow 16.7 million (EIP-7825)."""
TOGETHER = 500
"""Requests of one HTTP call."""
BOND = 100 * 10**18
ETHER = hex(10**20)
GATHERERS = PANEL = 3
WINDOWS = Windows(
    waiting=60,
    commit=60,
    check=60,
    reveal=60,
    gather=6,  # this one and the challenge run to their ends
    verdict_seal=60,
    verdict_open=60,
    update=60,
    update_check=60,
    update_open=60,
    update_challenge=4,
)
Transaction = dict[str, Any]
Gas = dict[str, list[int]]
"""Gas of each transaction, by function."""


def person(number: int) -> Address:
    """An address that anvil lets us use."""
    return Address(to_checksum_address(f"0x{number:040x}"))


def operator_of(owner: str) -> Address:
    """The hot key of an owner."""
    return person(int(owner, 16) + (1 << 32))


REQUESTER, COORDINATOR = person(0xA2), person(0xA3)
FAUCET = Address(Account.from_key(FAUCET_KEY).address)


class Market:
    """One market on a chain of its own; a context that ends the chain."""

    def __init__(self, folder: Path) -> None:
        self.anvil: Anvil = start_anvil(folder / "anvil.log", block_time=None)
        web3 = connect(self.anvil.url, DEV_CHAIN_ID)
        self.deployment = deploy(web3, Account.from_key(FAUCET_KEY), DEV_CONFIG)
        self.chain = Chain(self.anvil.url, self.deployment)
        self.gas: Gas = defaultdict(list)
        self._waiting: list[Transaction] = []
        self._nonces: Counter[str] = Counter({FAUCET: self.chain.nonce(FAUCET)})
        self._names = _selectors()
        self._session = requests.Session()
        self.rpc("anvil_autoImpersonateAccount", True)
        self.rpc("evm_setAutomine", False)
        self.rpc("evm_setBlockGasLimit", hex(BLOCK_GAS))

    def __enter__(self) -> "Market":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self.anvil.stop()

    def rpc(self, method: str, *params: Any) -> Any:
        """One raw request."""
        return self._ask([(method, params)])[0]

    def _ask(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Many raw requests, in order."""
        found = []
        for first in range(0, len(calls), TOGETHER):
            body = [
                {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
                for number, (method, params) in enumerate(calls[first : first + TOGETHER])
            ]
            answers = self._session.post(self.anvil.url, json=body, timeout=600).json()
            for answer in sorted(answers, key=lambda one: int(one["id"])):
                assert "error" not in answer, answer
                found.append(answer["result"])
        return found

    # --- transactions ---

    def send(self, who: str, contract: Any, function: str, *args: Any) -> None:
        """Have it in the next block."""
        data = contract.get_function_by_name(function)(*args)._encode_transaction_data()
        gas = hex(TRANSACTION_GAS)
        # Requests of one HTTP call are answered side by side, so each says its place in line.
        fields = {"from": who, "to": contract.address, "data": data, "gas": gas}
        self._waiting.append(fields | {"nonce": hex(self._nonces[who])})
        self._nonces[who] += 1

    def act(self, owner: str, function: str, *args: Any) -> None:
        """Have a call of the market by an owner's hot key in the next block."""
        self.send(operator_of(owner), self.chain.market, function, *args)

    def mine(self) -> None:
        """Make a block of everything that waits, and read what each transaction took."""
        self._ask([("eth_sendTransaction", [one]) for one in self._waiting])
        self._waiting.clear()
        self.rpc("evm_mine")
        block = self.rpc("eth_getBlockByNumber", "latest", True)
        if not block["transactions"]:
            return
        receipts = self.rpc("eth_getBlockReceipts", "latest")
        for sent, receipt in zip(block["transactions"], receipts, strict=True):
            name = self._names[sent["input"][:10]]
            assert receipt["status"] == "0x1", (name, receipt, self._try_again(sent))
            used = int(receipt["gasUsed"], 16)
            assert used <= TRANSACTION_GAS, (name, used)
            self.gas[name].append(used)

    def _try_again(self, sent: Transaction) -> Any:
        """What the chain says to the same call now."""
        call = {"from": sent["from"], "to": sent["to"], "data": sent["input"]}
        body = {"jsonrpc": "2.0", "id": 0, "method": "eth_call", "params": [call, "latest"]}
        return self._session.post(self.anvil.url, json=body, timeout=600).json()

    # --- money ---

    def put_up(self, hot_keys: dict[Address, Address]) -> None:
        """Gas, a bond and an operator for every owner."""
        for who in (*hot_keys, *hot_keys.values(), REQUESTER):
            self.rpc("anvil_setBalance", who, ETHER)
        vault, token = self.chain.vault, self.chain.token
        for owner in (*hot_keys, REQUESTER):
            self.send(FAUCET, token, "transfer", owner, BOND)
            self.send(owner, token, "approve", vault.address, BOND)
        self.mine()
        for owner, hot in hot_keys.items():
            self.send(owner, vault, "deposit", BOND)
            self.send(owner, vault, "authorise", hot, BOND)
        self.mine()

    def post(self, terms: Terms) -> None:
        """Have a job posted in the next block."""
        named = [getattr(terms, f.name) for f in dataclasses.fields(terms) if f.name != "windows"]
        fields = (*named, dataclasses.astuple(terms.windows))
        self.send(REQUESTER, self.chain.market, "post", fields, required_escrow(terms))

    def credit(self, owner: str) -> int:
        """What an owner can collect."""
        return int(self.chain.call(self.chain.vault, "creditOf", owner))


def make_terms(coordinator: Address, rounds: int, tasks: int, workers: int) -> Terms:
    """Terms with the least bonds; one task in ten is checked."""
    checks = max(tasks // 10, 1)
    reward, fee, update_fee = 101, 111, 51
    return Terms(
        manifest=b"\1" * 32,
        genesis_root=b"\2" * 32,
        genesis_cid=b"\3" * 32,
        coordinator=coordinator,
        rounds=rounds,
        tasks=tasks,
        checks=checks,
        gatherers=GATHERERS,
        panel=PANEL,
        max_failed_rounds=1,
        min_workers=workers,
        min_verifiers=checks + GATHERERS + PANEL,
        reward=reward,
        fee=fee,
        update_fee=update_fee,
        bond=smallest_bond(reward, tasks, checks, PANEL, fee, update_fee),
        coordinator_bond=smallest_coordinator_bond(reward, tasks, PANEL, update_fee),
        windows=WINDOWS,
    )


def _selectors() -> dict[str, str]:
    """Names of functions by the first bytes of their calls."""
    return {
        "0x" + keccak(text=signature(entry))[:4].hex(): entry["name"]
        for name in ("JobMarket", "StakeVault", "DevToken")
        for entry in artifact(name).abi
        if entry["type"] == "function"
    }
