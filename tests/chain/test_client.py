"""The connection: the right chain, our code, patience while it is down, readable refusals."""

import dataclasses
from pathlib import Path

import pytest
import requests
from structlog.testing import capture_logs
from web3 import Web3

from protocol.chain.anvil import Anvil, free_port
from protocol.chain.client import CONNECT_TRIES, Chain, connect, retrying
from protocol.chain.deployment import Deployment
from protocol.chain.errors import (
    BadAddressBook,
    ChainDown,
    ChainError,
    ContractRejected,
    NotOurMarket,
    WrongChain,
)
from protocol.rules.records import ZERO_ADDRESS
from tests.support.rounds import make_terms
from tests.support.sights import COORDINATOR_KEY


def test_wrong_chain_is_refused(anvil: Anvil, deployment: Deployment) -> None:
    with pytest.raises(WrongChain, match="serves chain 31337, not chain 1"):
        Chain(anvil.url, dataclasses.replace(deployment, chain_id=1))


@pytest.mark.parametrize("name", ["market", "vault"])
def test_code_that_is_not_ours_is_refused(anvil: Anvil, deployment: Deployment, name: str) -> None:
    foreign = dataclasses.replace(deployment, **{name: deployment.token})
    with pytest.raises(NotOurMarket, match="is not the"):
        Chain(anvil.url, foreign)


def test_address_without_code_is_refused(anvil: Anvil, deployment: Deployment) -> None:
    with pytest.raises(NotOurMarket, match="no contract"):
        Chain(anvil.url, dataclasses.replace(deployment, market=ZERO_ADDRESS))


def test_dead_endpoint_is_waited_for_and_said_once() -> None:
    waits: list[float] = []
    with capture_logs() as said, pytest.raises(ChainDown, match="does not answer"):
        connect(f"http://127.0.0.1:{free_port()}", 31337, sleep=waits.append)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert len(said) == 1


def test_endpoint_that_comes_back_is_used() -> None:
    waits: list[float] = []

    def read() -> int:
        if len(waits) < 3:
            raise requests.ConnectionError
        return 7

    assert retrying("url", read, waits.append) == 7
    assert len(waits) == 3 < CONNECT_TRIES


def test_read_in_flight_waits_too(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    patient = Chain(chain.url, chain.deployment, sleep=waits.append)
    real = patient.web3.provider.make_request

    def flaky(*args: object) -> object:
        if len(waits) < 2:
            raise requests.Timeout
        return real(*args)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(patient.web3.provider, "make_request", flaky)
    assert patient.header(0) is not None
    assert len(waits) == 2


def test_refusal_carries_name_and_values(chain: Chain) -> None:
    with pytest.raises(ContractRejected) as caught:
        chain.call(chain.market, "advance", 99)
    assert (caught.value.error, caught.value.values) == ("NoSuchJob", {"job": 99})
    assert "advance was refused: NoSuchJob(job=99)" in str(caught.value)


def test_refusal_of_a_term_names_it_in_words(chain: Chain) -> None:
    terms = make_terms(coordinator=COORDINATOR_KEY, gatherers=4)
    w = terms.windows
    windows = tuple(getattr(w, name) for name in w.__slots__)
    raw = tuple(getattr(terms, name) for name in terms.__slots__ if name != "windows")
    with pytest.raises(ContractRejected) as caught:
        chain.call(chain.market, "post", (*raw, windows), 10**9)
    assert caught.value.error == "BadTerm"
    assert caught.value.values == {"name": "gatherers", "value": 4, "bound": 5}


def test_refusal_of_the_vault_and_the_token_are_decoded(chain: Chain) -> None:
    poor = Web3.to_checksum_address("0x" + "12" * 20)
    with pytest.raises(ContractRejected) as caught:
        chain.call(chain.vault, "withdraw", 5, poor, **{"from": poor})
    assert caught.value.error == "InsufficientFree"
    assert caught.value.values == {"provider": poor, "free": 0, "asked": 5}
    with pytest.raises(ContractRejected) as caught:
        chain.call(chain.token, "transfer", chain.deployment.vault, 5, **{"from": poor})
    assert caught.value.error == "ERC20InsufficientBalance"


def test_request_that_the_node_refuses_is_said(chain: Chain) -> None:
    with pytest.raises(ChainError, match="refused"):
        chain._request("eth_noSuchMethod", [])


def test_address_book_survives_a_round_trip(tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "deep" / "book.json"
    deployment.write(path)
    assert Deployment.read(path) == deployment


@pytest.mark.parametrize("text", ["", "[]", '{"chain_id": 1}', "\x00"])
def test_broken_address_book_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "book.json"
    path.write_text(text)
    with pytest.raises(BadAddressBook, match="no address book"):
        Deployment.read(path)


def test_missing_address_book_and_bad_address_are_said(
    tmp_path: Path, deployment: Deployment
) -> None:
    path = tmp_path / "book.json"
    with pytest.raises(BadAddressBook, match="there is no address book"):
        Deployment.read(path)
    dataclasses.replace(deployment, vault=deployment.vault.lower()).write(path)
    with pytest.raises(BadAddressBook, match="vault"):
        Deployment.read(path)
