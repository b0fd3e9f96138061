"""Whether an address holds the audited contracts, and nothing else: asked before every use.

Two things together prove a market. Its code on chain, and the code of every library, is the code
that this release was built with, byte for byte, immutables left out. And it lies where CREATE2 puts
this release's init code for the token and the constants of the address book: that pins the
immutables, which no look at the code can tell from forged ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields

from eth_abi.abi import decode
from eth_utils.crypto import keccak
from web3 import Web3

from protocol.chain.artifacts import artifact, link, release_hash
from protocol.chain.deployment import Deployment
from protocol.chain.errors import BookDiffers, NotOurMarket
from protocol.chain.market_config import MarketConfig
from protocol.chain.plan import Plan, constructor_types, plan_market
from protocol.rules.records import Address

LIBRARY_SELF = (1, 20)
"""A deployed library starts with PUSH20 of its own address: start and length of that address."""
IN_THE_BOOK = {"JobMarket": "market", "StakeVault": "vault"}
CodeOf = Callable[[Address], bytes]


@dataclass(frozen=True, slots=True)
class CodeReport:
    """One contract: keccak-256 of its audited code, and of what lies there (None: nothing).

    Both are taken with immutables blank.
    """

    name: str
    address: Address
    expected: bytes
    found: bytes | None

    @property
    def ok(self) -> bool:
        """The audited code is there."""
        return self.found == self.expected


def check_deployment(web3: Web3, book: Deployment) -> None:
    """Raise NotOurMarket or BookDiffers unless `book` names an audited market; sends nothing."""
    plan = plan_market(book.token, book.config, book.salt)
    for report in inspect_code(plan, book, code_reader(web3)):
        if not report.ok:
            other = None if book.release == release_hash() else (book.release, release_hash())
            raise NotOurMarket(report.name, report.address, report.expected, report.found, other)
    check_constants(web3, book, plan)


def inspect_code(plan: Plan, book: Deployment, code_of: CodeOf) -> Iterator[CodeReport]:
    """Compare the code of market, vault and libraries with this release's, each on its own."""
    addresses = plan.addresses
    for name in addresses:
        address = getattr(book, IN_THE_BOOK[name]) if name in IN_THE_BOOK else addresses[name]
        code = code_of(address)
        expected = audited_code(name, addresses)
        found = keccak(_blank(name, code)) if code else None
        yield CodeReport(name, address, keccak(expected), found)


def check_constants(web3: Web3, book: Deployment, plan: Plan) -> None:
    """Raise BookDiffers unless the market has the book's token and constants; its code is known."""

    def read(at: Address, function: str, kinds: list[str]) -> tuple[object, ...]:
        call = {"to": Web3.to_checksum_address(at), "data": "0x" + keccak(text=function)[:4].hex()}
        return tuple(decode(kinds, bytes(web3.eth.call(call))))  # type: ignore[arg-type]  # two plain fields

    _, config = constructor_types(artifact("JobMarket"))
    (found,) = read(book.market, "config()", [config])
    assert isinstance(found, tuple)
    beacon = plan.beacon.address.lower()
    names = [field.name for field in fields(MarketConfig)]
    constants = (*astuple(book.config)[:-1], beacon)
    for name, said, is_ in zip(names, constants, found, strict=True):
        if said != is_:
            raise BookDiffers(book.market, f"config.{name}", said, is_)
    wiring = (
        ("vault", book.market, "VAULT()", book.vault),
        ("market", book.vault, "MARKET()", book.market),
        ("token", book.vault, "TOKEN()", book.token),
    )
    for name, at, function, said in wiring:
        (address,) = read(at, function, ["address"])
        if str(address).lower() != said.lower():
            raise BookDiffers(book.market, name, said, Web3.to_checksum_address(str(address)))
    if (plan.market, plan.vault) != (book.market, book.vault):
        raise BookDiffers(book.market, "market", book.market, plan.market)
    if plan.libraries != dict(book.libraries):
        raise BookDiffers(book.market, "libraries", dict(book.libraries), plan.libraries)


def audited_code(name: str, addresses: dict[str, Address]) -> bytes:
    """The runtime code of a contract of this release, linked, with immutables blank."""
    compiled = artifact(name)
    code = bytearray.fromhex(
        link(compiled.deployed_bytecode, compiled.deployed_link_references, addresses)[2:]
    )
    start, length = LIBRARY_SELF
    if code[:start] == b"\x73" and code[start : start + length] == bytes(length):
        code[start : start + length] = bytes.fromhex(addresses[name][2:])
    return bytes(code)


def code_reader(web3: Web3) -> CodeOf:
    """Reads the code at an address."""
    return lambda address: bytes(web3.eth.get_code(Web3.to_checksum_address(address)))


def _blank(name: str, code: bytes) -> bytes:
    """Code from a chain with zeros where its immutables stand, if it is this contract's."""
    blank = bytearray(code)
    for places in artifact(name).immutable_references.values():
        for place in places:
            span = range(place["start"], min(place["start"] + place["length"], len(blank)))
            blank[span.start : span.stop] = bytes(len(span))
    return bytes(blank)
