"""A real anvil with a market on it; every test starts with the curtain just raised."""

from collections.abc import Iterator

import pytest
from eth_account import Account

from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, start_anvil
from protocol.chain.client import Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.market_config import DEV_CONFIG
from tests.support.market_play import Play


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain that mines a block per transaction, everybody bonded and enrolled."""
    anvil = start_anvil(tmp_path_factory.mktemp("anvil") / "anvil.log", block_time=None)
    web3 = connect(anvil.url, DEV_CHAIN_ID)
    chain = Chain(anvil.url, deploy(web3, Account.from_key(FAUCET_KEY), DEV_CONFIG))
    Play(chain).raise_curtain()
    yield chain
    anvil.stop()


@pytest.fixture
def play(chain: Chain) -> Iterator[Play]:
    """The market; afterwards the books must balance, and everything is undone."""
    play = Play(chain)
    before = play.rpc("evm_snapshot")
    yield play
    play.assert_sound()
    assert play.rpc("evm_revert", before)
