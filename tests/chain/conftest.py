"""A real anvil for the whole session; every test starts from the same block of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine
from web3 import Web3
from web3.types import RPCEndpoint

from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, Anvil, start_anvil
from protocol.chain.client import Call, Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.deployment import Deployment
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database

Rpc = Callable[..., Any]
ETHER = 10**18


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    """A chain that mines a block per transaction."""
    running = start_anvil(tmp_path_factory.mktemp("anvil") / "anvil.log", block_time=None)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def deployment(anvil: Anvil) -> Deployment:
    """A market on it."""
    web3 = connect(anvil.url, DEV_CHAIN_ID)
    return deploy(web3, Account.from_key(FAUCET_KEY), DEV_CONFIG)


def caller(web3: Web3) -> Rpc:
    """Raw JSON-RPC: rpc("evm_mine")."""

    def call(method: str, *params: Any) -> Any:
        answer = web3.provider.make_request(RPCEndpoint(method), list(params))
        assert "error" not in answer, answer
        return answer["result"]

    return call


@pytest.fixture
def rpc(anvil: Anvil, deployment: Deployment) -> Iterator[Rpc]:
    """The chain's own controls; whatever a test does is undone."""
    call = caller(connect(anvil.url, deployment.chain_id))
    before = call("evm_snapshot")
    yield call
    call("evm_setAutomine", True)
    call("anvil_dropAllTransactions")
    assert call("evm_revert", before)


@pytest.fixture
def chain(anvil: Anvil, deployment: Deployment, rpc: Rpc) -> Chain:
    """A checked connection."""
    return Chain(anvil.url, deployment)


@pytest.fixture
def faucet() -> LocalAccount:
    """Holds the ether and the tokens."""
    return Account.from_key(FAUCET_KEY)


@pytest.fixture
def engine(place: str) -> Iterator[Engine]:
    """A role's database, once of each kind."""
    opened = open_database(place)
    yield opened
    opened.dispose()


@pytest.fixture
def sender(chain: Chain, faucet: LocalAccount, engine: Engine) -> TxSender:
    """The faucet's only writer."""
    return TxSender(chain, faucet, engine)


@pytest.fixture
def newcomer(rpc: Rpc) -> LocalAccount:
    """Somebody with gas and nothing else."""
    account = Account.create()
    rpc("anvil_setBalance", account.address, hex(ETHER))
    return account


@pytest.fixture
def transfer(chain: Chain, newcomer: LocalAccount) -> Call:
    """Five tokens from the faucet to the newcomer."""
    return Call(chain.token, "transfer", (newcomer.address, 5))


@pytest.fixture
def enrol(chain: Chain, sender: TxSender) -> Callable[[str], None]:
    """Make the faucet a verifier with one more slot: one more event of the market."""
    bond = DEV_CONFIG.slot_bond
    everything = 100 * bond
    me = sender.address

    def once(key: str) -> None:
        if chain.call(chain.vault, "freeOf", me) == 0:
            vault = chain.deployment.vault
            sender.send(f"{key}-approve", Call(chain.token, "approve", (vault, everything)))
            sender.send(f"{key}-deposit", Call(chain.vault, "deposit", (everything,)))
            sender.send(f"{key}-authorise", Call(chain.vault, "authorise", (me, everything)))
        sender.send(key, Call(chain.market, "enrol", (me, 1)))

    return once
