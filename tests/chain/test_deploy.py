"""Deploying: the same addresses everywhere, again and again without harm, refusals before money."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from protocol.chain import deploy as deploying
from protocol.chain.anvil import FAUCET_KEY, Anvil, start_anvil
from protocol.chain.client import connect
from protocol.chain.create2 import (
    FACTORY,
    FACTORY_COST,
    FACTORY_SIGNER,
    FACTORY_TRANSACTION,
    install_factory,
)
from protocol.chain.creator import Creator
from protocol.chain.deploy import deploy, first_block_with_code
from protocol.chain.errors import (
    ChainError,
    ContractRejected,
    FactoryMissing,
    InsufficientFunds,
    NotOurMarket,
    TransactionFailed,
)
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.plan import INIT_CODE_LIMIT, Plan, plan_market
from protocol.rules.records import Address
from tests.chain.conftest import caller

TRANSACTION_GAS_LIMIT = 2**24
"""EIP-7825: gas that one transaction may take."""
BANK = Account.from_key(FAUCET_KEY)
NOWHERE = Address(Web3.to_checksum_address("0x" + "ab" * 20))
Start = Callable[..., Web3]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts chains of a test's own."""
    running: list[Anvil] = []

    def chain(**options: Any) -> Web3:
        log = tmp_path / f"anvil-{len(running)}.log"
        running.append(start_anvil(log, block_time=None, **options))
        return connect(running[-1].url, None)

    yield chain
    for anvil in running:
        anvil.stop()


def sent_by(web3: Web3, account: LocalAccount) -> int:
    return int(web3.eth.get_transaction_count(account.address))


def somebody(web3: Web3, ether: int = 100) -> LocalAccount:
    account = Account.create()
    caller(web3)("anvil_setBalance", account.address, hex(ether * 10**18))
    return account


def plan_of(web3: Web3) -> Plan:
    return plan_market(deploy(web3, BANK, DEV_CONFIG).token, DEV_CONFIG)


# --- addresses ---


def test_same_inputs_give_the_same_addresses_on_every_chain(start: Start) -> None:
    here, there = start(chain_id=31337), start(chain_id=10)
    caller(there)("anvil_mine", hex(7))
    sent = sent_by(there, BANK)
    there.eth.send_raw_transaction(  # the key's nonces do not matter
        BANK.sign_transaction(
            {
                "to": NOWHERE,
                "value": 1,
                "gas": 21_000,
                "maxFeePerGas": 10**10,
                "maxPriorityFeePerGas": 1,
                "nonce": sent,
                "chainId": 10,
            }
        ).raw_transaction
    )
    first, second = deploy(here, BANK, DEV_CONFIG), deploy(there, BANK, DEV_CONFIG)
    assert (first.chain_id, second.chain_id) == (31337, 10)
    assert replace(second, chain_id=31337, block=first.block) == first


def test_other_inputs_give_another_market_over_the_same_libraries(start: Start) -> None:
    web3 = start()
    first = deploy(web3, BANK, DEV_CONFIG)
    before = sent_by(web3, BANK)
    longer = replace(DEV_CONFIG, max_window=700)
    others = [
        deploy(web3, BANK, DEV_CONFIG, first.token, salt=b"\1" * 32),
        deploy(web3, BANK, longer, first.token),
    ]
    assert len({first.market, *(other.market for other in others)}) == 3
    assert all(other.libraries == first.libraries for other in others)
    assert sent_by(web3, BANK) == before + 2, "one creation each"


def test_every_creation_fits_into_a_transaction(start: Start) -> None:
    web3 = start()
    deploy(web3, BANK, DEV_CONFIG)
    plan = plan_of(web3)
    used = {}
    for number in range(1, int(web3.eth.block_number) + 1):
        for sent in web3.eth.get_block(number)["transactions"]:
            receipt = web3.eth.get_transaction_receipt(sent)  # type: ignore[arg-type]  # hashes, not whole transactions
            used[number] = receipt["gasUsed"]
    assert len(used) == len(plan.creations) + 1
    assert max(used.values()) < TRANSACTION_GAS_LIMIT
    assert max(len(creation.init_code) for creation in plan.creations) <= INIT_CODE_LIMIT


# --- again ---


def test_deployed_market_is_recognised_by_anybody(start: Start) -> None:
    web3 = start()
    first = deploy(web3, BANK, DEV_CONFIG)
    caller(web3)("anvil_mine", hex(50))
    stranger, said = somebody(web3), []
    again = deploy(
        web3,
        stranger,
        DEV_CONFIG,
        first.token,
        progress=lambda name, _, new: said.append((name, new)),
    )
    assert again == replace(first, block=again.block)
    assert again.block == first_block_with_code(web3, first.market) >= first.block
    assert not web3.eth.get_code(Web3.to_checksum_address(first.market), again.block - 1)
    assert sent_by(web3, stranger) == 0
    assert said == [(c.name, False) for c in plan_market(first.token, DEV_CONFIG).creations]


@pytest.mark.parametrize("reached", [0, 1, 4, -1])
def test_interrupted_deployment_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch, reached: int
) -> None:
    web3 = start()
    token = deploy(start(chain_id=5), BANK, DEV_CONFIG).token
    reached %= len(plan_market(token, DEV_CONFIG).creations)
    caller(web3)("anvil_setCode", token, "0x00")  # a token, as far as a constructor can tell
    real, count = Creator.send, 0

    def dies(self: Creator, *args: Any) -> None:
        nonlocal count
        if count == reached:
            raise KeyboardInterrupt
        count += 1
        real(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Creator, "send", dies)
        with pytest.raises(KeyboardInterrupt):
            deploy(web3, BANK, DEV_CONFIG, token)
    assert sent_by(web3, BANK) == reached
    second = somebody(web3)
    book = deploy(web3, second, DEV_CONFIG, token)
    assert sent_by(web3, second) == len(plan_market(token, DEV_CONFIG).creations) - reached
    assert book.market == plan_market(token, DEV_CONFIG).market


def test_creations_of_a_killed_deployment_that_are_still_under_way_are_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    web3 = start()
    token = deploy(web3, BANK, DEV_CONFIG).token
    rpc = caller(web3)
    rpc("evm_setAutomine", False)

    def dies(_: Creator) -> None:
        rpc("evm_setIntervalMining", 1)  # they are mined while the second attempt runs
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Creator, "finish", dies)
        with pytest.raises(KeyboardInterrupt):
            deploy(web3, BANK, DEV_CONFIG, token, salt=b"\7" * 32)
    book = deploy(web3, BANK, DEV_CONFIG, token, salt=b"\7" * 32)
    assert book.market == plan_market(token, DEV_CONFIG, b"\7" * 32).market


def test_code_that_never_appears_is_said(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    web3 = start()
    monkeypatch.setattr(deploying, "ARRIVAL_SECONDS", 0.2)
    monkeypatch.setattr(Creator, "send", lambda *_: None)
    with pytest.raises(TransactionFailed, match="DevToken could not be deployed"):
        deploy(web3, BANK, DEV_CONFIG)


def test_foreign_code_at_one_of_the_addresses_is_refused(start: Start) -> None:
    web3 = start()
    first = deploy(web3, BANK, DEV_CONFIG)
    caller(web3)("anvil_setCode", first.libraries["Seats"], "0x00")
    with pytest.raises(NotOurMarket, match="is not the Seats of this release"):
        deploy(web3, BANK, DEV_CONFIG, first.token)


def test_node_that_forgot_old_blocks_is_said(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    web3 = start()
    market = deploy(web3, BANK, DEV_CONFIG).market
    caller(web3)("anvil_mine", hex(20))
    monkeypatch.setattr(
        web3.eth,
        "_get_code",
        lambda *_: web3.manager.request_blocking("eth_noSuchMethod", []),  # type: ignore[arg-type]  # what a node says that cannot answer
    )
    with pytest.raises(ChainError, match="cannot be found"):
        first_block_with_code(web3, market)


# --- refusals, before anything is sent ---


def test_constant_out_of_bounds_is_named(start: Start) -> None:
    web3 = start()
    token = deploy(web3, BANK, DEV_CONFIG).token
    before = sent_by(web3, BANK)
    with pytest.raises(ContractRejected) as caught:
        deploy(web3, BANK, replace(DEV_CONFIG, beacon_delay=0), token)
    assert (caught.value.error, caught.value.values["name"]) == ("BadConfig", "beaconDelay")
    assert sent_by(web3, BANK) == before


def test_token_without_code_is_named(start: Start) -> None:
    web3 = start()
    with pytest.raises(ContractRejected) as caught:
        deploy(web3, BANK, DEV_CONFIG, NOWHERE)
    assert caught.value.error == "NotAToken"
    assert caught.value.values == {"token": NOWHERE.lower()}
    assert sent_by(web3, BANK) == 1, "the beacon, which the constructor asks too"


def test_deployer_without_gas_is_told(start: Start) -> None:
    web3 = start()
    token = deploy(web3, BANK, DEV_CONFIG).token
    poor = Account.create()
    caller(web3)("anvil_setBalance", poor.address, hex(10**12))
    with pytest.raises(InsufficientFunds, match="wei"):
        deploy(web3, poor, replace(DEV_CONFIG, max_rounds=7), token)


# --- the factory ---


def test_missing_factory_is_said_and_can_be_brought(start: Start) -> None:
    web3, other = start(factory=False), start()
    with pytest.raises(FactoryMissing) as caught:
        deploy(web3, BANK, DEV_CONFIG)
    said = str(caught.value)
    assert FACTORY in said
    assert FACTORY_SIGNER in said
    assert f"{FACTORY_COST} wei" in said
    assert sent_by(web3, BANK) == 0
    install_factory(web3, BANK)
    assert deploy(web3, BANK, DEV_CONFIG).market == deploy(other, BANK, DEV_CONFIG).market


def test_factorys_transaction_is_nobodys_and_leads_to_its_address() -> None:
    assert Account.recover_transaction(FACTORY_TRANSACTION) == FACTORY_SIGNER
    assert Web3.to_checksum_address(FACTORY) == FACTORY


def test_other_code_in_the_factorys_place_is_refused(start: Start) -> None:
    web3 = start()
    caller(web3)("anvil_setCode", FACTORY, "0x00")
    with pytest.raises(FactoryMissing, match="other code lies there"):
        deploy(web3, BANK, DEV_CONFIG)


def test_two_development_chains_are_told_apart(start: Start) -> None:
    """By their first blocks, also where both begin in one second: a key serves each of them."""
    first, second = (web3.eth.get_block(0) for web3 in (start(), start()))
    assert first["hash"] != second["hash"]
    assert first["gasLimit"] != second["gasLimit"]
