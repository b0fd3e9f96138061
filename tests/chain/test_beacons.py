"""Chance on a real chain: headers rebuilt byte for byte, proven, refused, and armed again."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_hash.auto import keccak
from sqlalchemy import Engine
from web3.types import RPCEndpoint

from protocol.chain.anvil import DEV_CHAIN_ID, FAUCET_KEY, Anvil, start_anvil
from protocol.chain.beacons import BadHeader, BeaconKind, encode_header
from protocol.chain.client import Call, Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.errors import ContractRejected, NotOurMarket
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.tx_sender import TxSender
from protocol.chain.views import stored
from protocol.rules.records import Phase, Stage, bits
from protocol.rules.sealing import words
from tests.chain.conftest import Rpc
from tests.support.market_play import ANYBODY, COORDINATOR, WORKERS, Play

HISTORY = "0x0000F90827F1C53a10cb7A02335B175320002935"
PREVRANDAO_CONFIG = dataclasses.replace(DEV_CONFIG, beacon=BeaconKind.PREVRANDAO, beacon_delay=2)
PROOF_GAS = 75_000
"""Anvil's bloom is empty; one without a zero byte costs 3,072 more. Measured: 63,669."""


@pytest.fixture
def randao_chain(anvil: Anvil, rpc: Rpc) -> Chain:
    """A market whose chance is prevrandao."""
    web3 = connect(anvil.url, DEV_CHAIN_ID)
    return Chain(anvil.url, deploy(web3, Account.from_key(FAUCET_KEY), PREVRANDAO_CONFIG))


@pytest.fixture
def play(randao_chain: Chain) -> Play:
    """A job on it, in Seed of its first round, whose target block is mined and not proven."""
    play = Play(randao_chain)
    play.raise_curtain()
    play.post()
    play.act(COORDINATOR, "accept", play.job, COORDINATOR)
    for owner in WORKERS:
        play.act(owner, "join", play.job, owner, 1)
    assert play.round.phase == Phase.SEED
    play.mine(2)
    return play


def block(chain: Chain, number: int) -> dict[str, Any]:
    found: dict[str, Any] = chain._request("eth_getBlockByNumber", [hex(number), False])
    return found


# --- headers ---


def test_header_hashes_to_its_block(randao_chain: Chain) -> None:
    for number in (0, 1, randao_chain.head()):
        encoded = randao_chain.encoded_header(number)
        assert "0x" + keccak(encoded).hex() == block(randao_chain, number)["hash"]


@pytest.mark.parametrize(("hardfork", "fields"), [("london", 16), ("shanghai", 17), ("cancun", 20)])
def test_header_ends_where_its_fork_does(tmp_path: Path, hardfork: str, fields: int) -> None:
    anvil = start_anvil(tmp_path / "anvil.log", block_time=None, hardfork=hardfork)
    try:
        web3 = connect(anvil.url, DEV_CHAIN_ID)
        web3.provider.make_request(RPCEndpoint("evm_mine"), [])
        answer = web3.provider.make_request(RPCEndpoint("eth_getBlockByNumber"), ["0x1", False])
        assert len(rlp.decode(encode_header(answer["result"]))) == fields
    finally:
        anvil.stop()


def test_endpoint_that_lies_about_a_block_is_noticed(chain: Chain) -> None:
    honest = block(chain, 1)
    for name in ("mixHash", "number", "extraData", "requestsHash"):
        lie = {**honest, name: "0x" + "12" * 32}
        with pytest.raises(BadHeader, match="do not hash"):
            encode_header(lie)
    with pytest.raises(BadHeader, match="do not hash"):
        encode_header({**honest, "withdrawalsRoot": None})


@pytest.mark.parametrize("value", [None, "0xzz", 5])
def test_endpoint_that_names_no_field_is_noticed(chain: Chain, value: object) -> None:
    with pytest.raises(BadHeader, match="missing or no hex"):
        encode_header({**block(chain, 1), "mixHash": value})


def test_block_that_is_not_there_is_said(chain: Chain) -> None:
    with pytest.raises(BadHeader, match="no block of that number"):
        chain.encoded_header(chain.head() + 1)


# --- which beacon ---


def test_beacon_is_the_one_that_the_market_names(chain: Chain, randao_chain: Chain) -> None:
    assert chain.beacon_kind == BeaconKind.BLOCK_HASH
    assert randao_chain.beacon_kind == BeaconKind.PREVRANDAO
    for seen in (chain, randao_chain):
        assert seen.call(seen.market, "config")[-1] == seen.beacon.address


def test_market_with_a_foreign_beacon_is_refused(randao_chain: Chain, rpc: Rpc) -> None:
    code = bytearray(randao_chain.web3.eth.get_code(randao_chain.beacon.address))
    code[-1] ^= 1
    rpc("anvil_setCode", randao_chain.beacon.address, "0x" + code.hex())
    with pytest.raises(NotOurMarket, match="not the PrevrandaoBeacon"):
        Chain(randao_chain.url, randao_chain.deployment)


def test_block_hash_beacon_awaits_no_proof(chain: Chain) -> None:
    assert not chain.awaits_proof(1)


# --- a market that waits for prevrandao ---


def test_round_waits_for_the_proof_and_draws_from_it(play: Play) -> None:
    target = play.round.beacon_block
    play.send(ANYBODY, play.market, "advance", play.job)
    assert play.round.phase == Phase.SEED
    assert play.chain.awaits_proof(target)
    play.prove(target)
    assert not play.chain.awaits_proof(target)
    play.send(ANYBODY, play.market, "advance", play.job)
    _, round_ = stored(play.chain, play.job)
    assert round_.phase == Phase.COMMIT
    mixed = bytes.fromhex(block(play.chain, target)["mixHash"][2:])
    assert round_.seed == keccak(words(mixed, play.job, 0, int(Phase.SEED)))


def test_nobody_proves_ahead_of_the_block(play: Play) -> None:
    header = play.chain.encoded_header(play.chain.head())
    ahead = play.chain.head() + 5
    assert not play.chain.awaits_proof(ahead)
    with pytest.raises(ContractRejected, match=f"NoBlockHash\\(target={ahead}"):
        play.send(ANYBODY, play.chain.beacon, "prove", ahead, header)


@pytest.mark.parametrize("change", ["another block", "another prevrandao", "cut", "longer"])
def test_false_header_is_refused(play: Play, change: str) -> None:
    target = play.round.beacon_block
    header = play.chain.encoded_header(target)
    fields = rlp.decode(header)
    fields[13] = keccak(fields[13])
    false = {
        "another block": play.chain.encoded_header(target - 1),
        "another prevrandao": rlp.encode(fields),
        "cut": header[:-1],
        "longer": header + b"\0",
    }[change]
    with pytest.raises(ContractRejected, match="WrongHeader") as refused:
        play.send(ANYBODY, play.chain.beacon, "prove", target, false)
    assert refused.value.values["found"] == keccak(false)
    assert play.round.phase == Phase.SEED
    play.prove(target)


def test_proof_costs_what_the_documents_say(play: Play) -> None:
    target = play.round.beacon_block
    call = play.chain.beacon.functions.prove(target, play.chain.encoded_header(target))
    assert call.estimate_gas({"from": play.terms.coordinator}, "pending") < PROOF_GAS


def test_history_keeps_a_block_provable(play: Play) -> None:
    """EIP-2935 serves what the opcode has forgotten; where it ends is measured with forge."""
    target = play.round.beacon_block
    play.mine(target + 300 - play.chain.head())
    play.send(ANYBODY, play.market, "advance", play.job)
    assert stored(play.chain, play.job)[1].beacon_block == target
    play.to(Phase.COMMIT)
    assert stored(play.chain, play.job)[1].seed != bytes(32)


def test_block_that_nobody_proved_in_time_is_replaced(play: Play) -> None:
    """Without EIP-2935 a block can be proven while it is one of the last 256."""
    target = play.round.beacon_block
    play.rpc("anvil_setCode", HISTORY, "0x")
    play.mine(target + 255 - play.chain.head())
    play.send(ANYBODY, play.market, "advance", play.job)  # in the last block that can read it
    assert stored(play.chain, play.job)[1].beacon_block == target
    assert play.chain.awaits_proof(target) is False
    play.send(ANYBODY, play.market, "advance", play.job)
    _, round_ = stored(play.chain, play.job)
    assert round_.beacon_block == play.chain.head() + PREVRANDAO_CONFIG.beacon_delay
    assert round_.seed == bytes(32)
    play.to(Phase.COMMIT)


def test_whole_round_on_prevrandao(play: Play) -> None:
    """Every beacon of a round, a panel's and the update's included, is proven and drawn from."""
    play.to(Phase.COMMIT)
    play.seal_work()
    lied = bits(play.round.drawn)[0]
    play.check(lies=[lied])
    play.reveal()
    play.gather()
    play.verdict(lied)
    play.update()
    play.to(Phase.UPDATE_CHALLENGE)
    play.mine(play.round.deadline - play.chain.head())
    play.send(ANYBODY, play.market, "advance", play.job)
    job, round_ = stored(play.chain, play.job)
    assert (job.updates, round_.number) == (1, 1)
    assert play.holder(Stage.UPDATE, play.terms.tasks) == COORDINATOR
    play.assert_sound()


def test_proof_goes_through_the_one_writer(play: Play, engine: Engine) -> None:
    """As the coordinator sends it: stored, tried first, mined once."""
    account = Account.from_key(FAUCET_KEY)
    target = play.round.beacon_block
    sender = TxSender(play.chain, account, engine)
    call = Call(play.chain.beacon, "prove", (target, play.chain.encoded_header(target)))
    sender.send(f"prove/{target}", call)
    sender.submit(f"prove/{target}", call)
    assert not play.chain.awaits_proof(target)
