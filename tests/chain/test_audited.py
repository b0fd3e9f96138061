"""Before every use: the audited code, made with the constants that the address book names."""

import dataclasses
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from web3 import Web3

from protocol.chain.anvil import Anvil
from protocol.chain.artifacts import artifact, libraries, manifest, release_hash
from protocol.chain.audited import check_deployment
from protocol.chain.beacons import BeaconKind
from protocol.chain.client import Chain
from protocol.chain.create2 import created_by
from protocol.chain.deployment import Deployment
from protocol.chain.errors import BookDiffers, NotOurMarket
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.plan import plan_market
from protocol.rules.records import Address

CONTRACTS = ("JobMarket", "StakeVault", DEV_CONFIG.beacon.value, *libraries())


def blanked(name: str) -> list[tuple[int, int]]:
    """Where the immutables of a contract stand: first byte, and the one after the last."""
    places = artifact(name).immutable_references.values()
    return [(p["start"], p["start"] + p["length"]) for spots in places for p in spots]


def overwrite(chain: Chain, rpc: Any, address: Address, at: int, xor: int = 1) -> None:
    """Change one byte of the code at an address."""
    code = bytearray(chain.web3.eth.get_code(Web3.to_checksum_address(address)))
    code[at] ^= xor
    rpc("anvil_setCode", address, "0x" + code.hex())


def test_deployed_market_passes(chain: Chain) -> None:
    check_deployment(chain.web3, chain.deployment)


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_changed_byte_is_found_anywhere(chain: Chain, rpc: Any, name: str, where: str) -> None:
    book = chain.deployment
    address = plan_market(book.token, book.config, book.salt).addresses[name]
    size = len(chain.web3.eth.get_code(Web3.to_checksum_address(address)))
    at = {"first": 0, "middle": size // 2, "last": size - 1}[where]
    assert not any(start <= at < end for start, end in blanked(name))
    overwrite(chain, rpc, address, at)
    with pytest.raises(NotOurMarket) as caught:
        check_deployment(chain.web3, book)
    assert f"the code at {address} is not the {name} of this release" in str(caught.value)
    found = caught.value.found
    assert found is not None
    assert found != caught.value.expected
    for digest in (found, caught.value.expected):
        assert "0x" + digest.hex() in caught.value.why
    assert "do not send money there" in caught.value.fix


@pytest.mark.parametrize("name", CONTRACTS)
def test_missing_longer_and_shorter_code_is_found(chain: Chain, rpc: Any, name: str) -> None:
    book = chain.deployment
    address = plan_market(book.token, book.config, book.salt).addresses[name]
    code = bytes(chain.web3.eth.get_code(Web3.to_checksum_address(address)))
    for other in (b"", code[:-1], code + b"\0", code[:40]):
        rpc("anvil_setCode", address, "0x" + other.hex())
        with pytest.raises(NotOurMarket, match=f"is not the {name}"):
            check_deployment(chain.web3, book)


@pytest.mark.parametrize(
    ("name", "said"), [("JobMarket", "config.|vault"), ("StakeVault", "market|token")]
)
def test_forged_immutable_that_is_read_is_found(
    chain: Chain, rpc: Any, name: str, said: str
) -> None:
    """Code with other immutables is the same code; what they say must be the book's."""
    address = {"JobMarket": chain.deployment.market, "StakeVault": chain.deployment.vault}[name]
    code = bytearray(chain.web3.eth.get_code(Web3.to_checksum_address(address)))
    for _, end in blanked(name):
        code[end - 1] ^= 1
    rpc("anvil_setCode", address, "0x" + code.hex())
    with pytest.raises(BookDiffers, match=said):
        check_deployment(chain.web3, chain.deployment)


def test_same_code_that_was_not_made_from_the_audited_init_code_is_found(
    chain: Chain, faucet: LocalAccount
) -> None:
    """A market at another address may hold any immutables, the ones that nobody reads too."""
    book = chain.deployment
    creation = plan_market(book.token, book.config, book.salt).creations[-1]
    sent = chain.web3.eth.send_raw_transaction(
        faucet.sign_transaction(
            {
                "data": creation.init_code,
                "gas": 15_000_000,
                "maxFeePerGas": 10**10,
                "maxPriorityFeePerGas": 1,
                "nonce": chain.web3.eth.get_transaction_count(faucet.address),
                "chainId": book.chain_id,
            }
        ).raw_transaction
    )
    twin = chain.web3.eth.wait_for_transaction_receipt(sent)["contractAddress"]
    assert twin is not None
    market = Address(str(twin))
    forged = dataclasses.replace(book, market=market, vault=created_by(market))
    with pytest.raises(BookDiffers, match=f"by the chain it is {book.market}"):
        check_deployment(chain.web3, forged)


def test_edited_book_is_found(chain: Chain) -> None:
    book = chain.deployment
    longer = dataclasses.replace(book.config, max_bond=book.config.max_bond + 1)
    other = dataclasses.replace(book.config, beacon=BeaconKind.PREVRANDAO)
    with pytest.raises(NotOurMarket, match="PrevrandaoBeacon"):  # nobody deployed one here
        check_deployment(chain.web3, dataclasses.replace(book, config=other))
    for field, edited in {
        "config.max_bond": dataclasses.replace(book, config=longer),
        "token": dataclasses.replace(book, token=book.vault),
        "market": dataclasses.replace(book, salt=b"\1" * 32),
        "libraries": dataclasses.replace(book, libraries={}),
    }.items():
        with pytest.raises(BookDiffers) as caught:
            check_deployment(chain.web3, edited)
        assert caught.value.name == field


def test_book_of_another_release_is_said(chain: Chain, rpc: Any) -> None:
    overwrite(chain, rpc, chain.deployment.market, 0)
    old = dataclasses.replace(chain.deployment, release="ab" * 32)
    with pytest.raises(NotOurMarket) as caught:
        check_deployment(chain.web3, old)
    assert "was written by release abababababababab" in caught.value.why
    assert release_hash()[:16] in caught.value.why


def test_connection_is_refused_to_what_is_not_audited(chain: Chain, anvil: Anvil, rpc: Any) -> None:
    overwrite(chain, rpc, chain.deployment.vault, 5)
    with pytest.raises(NotOurMarket):
        Chain(anvil.url, chain.deployment)


def test_release_is_the_hash_of_the_manifest_in_the_book(deployment: Deployment) -> None:
    assert deployment.release == release_hash()
    assert set(deployment.libraries) == set(manifest()["libraries"])
