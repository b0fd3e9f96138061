"""What a deployment consists of, before anything is sent: init codes and where they will lie.

Everything here follows from the shipped artifacts, the token, the constants and the salt; the chain
is not asked. Libraries and beacon come first, under a salt of zero, so that all markets of a
release share them. The market makes its vault in its own constructor.
"""

from dataclasses import astuple, dataclass

from eth_abi.abi import encode

from protocol.chain.artifacts import Artifact, artifact, libraries, link
from protocol.chain.beacons import BeaconKind
from protocol.chain.create2 import create2_address, created_by
from protocol.chain.market_config import MarketConfig
from protocol.chain.signatures import canonical_type
from protocol.rules.records import ZERO32, Address

DEV_SUPPLY = 10**27
INIT_CODE_LIMIT = 49_152
"""EIP-3860: bytes of init code that a chain accepts."""


@dataclass(frozen=True, slots=True)
class Creation:
    """One contract to create: its name, its init code, where it will lie."""

    name: str
    init_code: bytes
    arguments: bytes
    salt: bytes
    address: Address


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole market: `creations` in the order of deployment: libraries, beacon, market."""

    creations: tuple[Creation, ...]
    vault: Address

    @property
    def market(self) -> Address:
        """Where the market lies."""
        return self.creations[-1].address

    @property
    def beacon(self) -> Creation:
        """Where chance comes from."""
        return self.creations[-2]

    @property
    def addresses(self) -> dict[str, Address]:
        """Every contract of the market by its name, the market and its vault first."""
        own = {"JobMarket": self.market, "StakeVault": self.vault}
        return own | {self.beacon.name: self.beacon.address} | self.libraries

    @property
    def libraries(self) -> dict[str, Address]:
        """Where the linked libraries lie."""
        return {creation.name: creation.address for creation in self.creations[:-2]}


def plan_market(token: Address, config: MarketConfig, salt: bytes = ZERO32) -> Plan:
    """The market for `token` with these constants; another `salt` (32 bytes) makes another one."""
    linked: dict[str, Address] = {}
    creations = []
    for name in libraries():
        creations.append(_creation(name, b"", ZERO32, linked))
        linked[name] = creations[-1].address
    creations.append(plan_beacon(config.beacon))
    constants = (*astuple(config)[:-1], creations[-1].address)
    arguments = encode(constructor_types(artifact("JobMarket")), [token, constants])
    creations.append(_creation("JobMarket", arguments, salt, linked))
    return Plan(tuple(creations), created_by(creations[-1].address))


def plan_beacon(kind: BeaconKind) -> Creation:
    """A beacon, which all markets that name one of its kind share."""
    return _creation(kind.value, b"", ZERO32, {})


def plan_dev_token(holder: Address) -> Creation:
    """A DevToken whose whole supply `holder` gets."""
    types = constructor_types(artifact("DevToken"))
    return _creation("DevToken", encode(types, [holder, DEV_SUPPLY]), ZERO32, {})


def constructor_types(compiled: Artifact) -> list[str]:
    """ABI types of a contract's constructor arguments."""
    for entry in compiled.abi:
        if entry["type"] == "constructor":
            return [canonical_type(argument) for argument in entry["inputs"]]
    return []


def _creation(name: str, arguments: bytes, salt: bytes, linked: dict[str, Address]) -> Creation:
    compiled = artifact(name)
    code = link(compiled.bytecode, compiled.link_references, linked)
    init_code = bytes.fromhex(code[2:]) + arguments
    assert len(init_code) <= INIT_CODE_LIMIT, name
    return Creation(name, init_code, arguments, salt, create2_address(init_code, salt))
