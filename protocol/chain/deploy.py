"""Putting a market on a chain: libraries, vault and market, wired to each other for good.

The vault must know the market's address and the market the vault's, both immutable; so the market's
address is predicted from the deployer's nonce, and the market's constructor checks it.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.types import Nonce
from web3.utils.address import get_create_address

from protocol.chain.artifacts import artifact, libraries, link
from protocol.chain.deployment import Deployment
from protocol.chain.errors import TransactionFailed
from protocol.rules.records import Address

GAS_BASE, GAS_PER_BYTE = 1_500_000, 260
"""Room for a creation: 200 gas per byte kept, 16 per byte sent, and its constructor."""
DEV_SUPPLY = 10**27


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """Constants of one deployment, in the order of Config in Types.sol; amounts in token units."""

    epoch_blocks: int
    beacon_delay: int
    min_window: int
    max_window: int
    max_rounds: int
    max_panel: int
    slot_bond: int
    max_bond: int


DEV_CONFIG = MarketConfig(
    epoch_blocks=4,
    beacon_delay=1,
    min_window=4,
    max_window=600,
    max_rounds=100_000,
    max_panel=13,
    slot_bond=10**18,
    max_bond=10**24,
)
"""For development chains: short epochs, beacons after one block."""


def deploy(
    web3: Web3, deployer: LocalAccount, config: MarketConfig, token: Address | None = None
) -> Deployment:
    """Deploy a market for `token`, or for a new DevToken whose supply `deployer` then holds."""
    builder = _Deployer(web3, deployer)
    block = int(web3.eth.block_number)
    if token is None:
        token = builder.create("DevToken", (deployer.address, DEV_SUPPLY))
    linked: dict[str, Address] = {}
    for name in libraries():
        linked[name] = builder.create(name, (), linked)
    market = builder.address_after(1)
    vault = builder.create("StakeVault", (token, market))
    builder.create("JobMarket", (vault, astuple(config)), linked)
    builder.finish()
    return Deployment(int(web3.eth.chain_id), market, vault, token, block)


class _Deployer:
    """Sends creations without waiting: each address follows from sender and nonce."""

    def __init__(self, web3: Web3, account: LocalAccount) -> None:
        self.web3 = web3
        self.account = account
        self.nonce = int(web3.eth.get_transaction_count(account.address))
        self.sent: list[tuple[str, HexBytes]] = []

    def address_after(self, creations: int) -> Address:
        """Where the contract after `creations` more creations will lie."""
        return Address(get_create_address(self.account.address, Nonce(self.nonce + creations)))

    def create(
        self, name: str, args: tuple[Any, ...], linked: Mapping[str, str] | None = None
    ) -> Address:
        """Send one creation; returns where the contract will lie."""
        compiled = artifact(name)
        code = link(compiled.bytecode, compiled.link_references, linked or {})
        factory = self.web3.eth.contract(abi=compiled.abi, bytecode=code)
        fees = self.web3.eth.get_block("latest")["baseFeePerGas"]
        address = self.address_after(0)
        transaction = factory.constructor(*args).build_transaction(
            {
                "from": self.account.address,
                "nonce": Nonce(self.nonce),
                "chainId": self.web3.eth.chain_id,
                "gas": GAS_BASE + GAS_PER_BYTE * (len(code) // 2),
                "maxFeePerGas": Web3.to_wei(2 * fees + 10**9, "wei"),
                "maxPriorityFeePerGas": Web3.to_wei(10**9, "wei"),
            }
        )
        signed = self.account.sign_transaction(transaction)
        self.sent.append((name, self.web3.eth.send_raw_transaction(signed.raw_transaction)))
        self.nonce += 1
        return address

    def finish(self) -> None:
        """Wait for every creation; raises TransactionFailed where one reverted."""
        for name, sent in self.sent:
            receipt = self.web3.eth.wait_for_transaction_receipt(sent, 60, 0.1)
            if receipt["status"] != 1:
                raise TransactionFailed(
                    f"{name} could not be deployed", why="Its creation reverted."
                )
