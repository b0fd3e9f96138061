"""Paying in: one transaction where the token knows permits, approvals where it does not.

The odd tokens are those of the contracts' own tests, compiled here and put on a real chain.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from web3 import Web3

from protocol.chain.anvil import Anvil
from protocol.chain.client import Call, Chain, connect
from protocol.chain.deploy import deploy
from protocol.chain.deployment import Deployment
from protocol.chain.errors import ContractRejected
from protocol.chain.market_config import DEV_CONFIG
from protocol.chain.payment import send_paying, sign_permit, with_permit
from protocol.chain.tx_sender import TxSender
from protocol.database.tables import TransactionRow
from protocol.rules.records import Address

CONTRACTS = Path(__file__).parents[2] / "contracts"
AMOUNT = 1_000
Market = Callable[..., Chain]


@pytest.fixture(scope="session")
def odd_tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The compiled tokens of contracts/test/support, by name."""
    out = tmp_path_factory.mktemp("tokens")
    forge = CONTRACTS / "scripts" / "forge"
    places = ["--out", str(out / "out"), "--cache-path", str(out / "cache")]
    done = subprocess.run(
        [str(forge), "build", "test/support/Tokens.sol", *places],
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {f.stem: json.loads(f.read_text()) for f in (out / "out" / "Tokens.sol").glob("*.json")}


@pytest.fixture
def market(
    anvil: Anvil,
    deployment: Deployment,
    rpc: Any,
    faucet: LocalAccount,
    odd_tokens: dict[str, dict[str, Any]],
) -> Market:
    """Deploys an odd token, which the faucet holds, and a market for it."""

    def make(name: str, *args: Any) -> Chain:
        web3 = connect(anvil.url, deployment.chain_id)
        compiled = odd_tokens[name]
        factory = web3.eth.contract(abi=compiled["abi"], bytecode=compiled["bytecode"]["object"])
        rpc("anvil_impersonateAccount", faucet.address)
        sent = factory.constructor(*args).transact({"from": faucet.address})
        rpc("anvil_stopImpersonatingAccount", faucet.address)
        token = web3.eth.wait_for_transaction_receipt(sent)["contractAddress"]
        return Chain(anvil.url, deploy(web3, faucet, DEV_CONFIG, Address(str(token))))

    return make


def deposit(chain: Chain) -> Call:
    return Call(chain.vault, "deposit", (AMOUNT,))


def functions_sent(engine: Engine) -> list[str]:
    with Session(engine) as session:
        rows = session.scalars(select(TransactionRow).order_by(TransactionRow.nonce))
        return [row.fields["function"] for row in rows]


def free(chain: Chain, account: LocalAccount) -> int:
    found: int = chain.call(chain.vault, "freeOf", account.address)
    return found


# --- with permits ---


def test_deposit_is_one_transaction(chain: Chain, sender: TxSender, engine: Engine) -> None:
    send_paying(sender, "deposit", deposit(chain), AMOUNT)
    assert functions_sent(engine) == ["depositWithPermit"]
    assert free(chain, sender.account) == AMOUNT
    assert chain.call(chain.token, "allowance", sender.address, chain.vault.address) == 0


def test_key_that_was_sent_before_pays_once(chain: Chain, sender: TxSender) -> None:
    first = send_paying(sender, "deposit", deposit(chain), AMOUNT)
    assert send_paying(sender, "deposit", deposit(chain), AMOUNT) == first
    assert free(chain, sender.account) == AMOUNT


def test_permit_that_somebody_sends_first_blocks_nothing(
    chain: Chain, sender: TxSender, newcomer: LocalAccount, tmp_path: Path
) -> None:
    permitted = with_permit(chain, sender.account, deposit(chain), AMOUNT)
    assert permitted is not None
    deadline, v, r, s = permitted.args[-1]
    thief = TxSender(chain, newcomer, sender.journal.engine)
    args = (sender.address, chain.vault.address, AMOUNT, deadline, v, r, s)
    thief.send("front-run", Call(chain.token, "permit", args))
    sender.send("deposit", permitted)
    assert free(chain, sender.account) == AMOUNT


def test_large_enough_allowance_is_used(chain: Chain, sender: TxSender, engine: Engine) -> None:
    sender.send("a", Call(chain.token, "approve", (chain.vault.address, AMOUNT)))
    send_paying(sender, "deposit", deposit(chain), AMOUNT)
    assert functions_sent(engine) == ["approve", "deposit"]


def test_token_of_six_decimals_with_permits(
    market: Market, faucet: LocalAccount, engine: Engine
) -> None:
    chain = market("SixToken")
    send_paying(TxSender(chain, faucet, engine), "deposit", deposit(chain), AMOUNT)
    assert functions_sent(engine) == ["depositWithPermit"]
    assert free(chain, faucet) == AMOUNT


def test_wallet_without_tokens_is_refused_before_anything_is_sent(
    chain: Chain, newcomer: LocalAccount, engine: Engine
) -> None:
    with pytest.raises(ContractRejected, match="ERC20InsufficientBalance"):
        send_paying(TxSender(chain, newcomer, engine), "deposit", deposit(chain), AMOUNT)
    assert functions_sent(engine) == []


# --- without ---


@pytest.mark.parametrize(
    ("name", "args"), [("PlainToken", (6,)), ("PhantomToken", ()), ("NoReturnToken", ())]
)
def test_token_without_permits_is_approved_first(
    market: Market, faucet: LocalAccount, engine: Engine, name: str, args: tuple[Any, ...]
) -> None:
    chain = market(name, *args)
    assert sign_permit(chain, faucet, AMOUNT) is None
    sender = TxSender(chain, faucet, engine)
    send_paying(sender, "deposit", deposit(chain), AMOUNT)
    assert functions_sent(engine) == ["approve", "deposit"]
    assert free(chain, faucet) == AMOUNT


def test_token_that_wants_zero_first_gets_it(
    market: Market, faucet: LocalAccount, engine: Engine
) -> None:
    chain = market("NoReturnToken")
    sender = TxSender(chain, faucet, engine)
    sender.send("old", Call(chain.token, "approve", (chain.vault.address, 3)))
    send_paying(sender, "deposit", deposit(chain), AMOUNT)
    assert functions_sent(engine) == ["approve", "approve", "approve", "deposit"]
    assert free(chain, faucet) == AMOUNT


def test_domain_that_the_token_hashes_otherwise_is_not_signed_for(
    chain: Chain, faucet: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = chain.call

    def other(contract: Any, function: str, *args: Any, **fields: Any) -> Any:
        answer = real(contract, function, *args, **fields)
        return b"\1" * 32 if function == "DOMAIN_SEPARATOR" else answer

    monkeypatch.setattr(chain, "call", other)
    assert sign_permit(chain, faucet, AMOUNT) is None


def test_permit_names_owner_vault_amount_and_an_hour(chain: Chain) -> None:
    account = Account.create()
    permit = sign_permit(chain, account, AMOUNT)
    assert permit is not None
    now = chain.web3.eth.get_block("latest")["timestamp"]
    assert permit[0] == now + 3600
    with pytest.raises(ContractRejected, match="ERC2612InvalidSigner"):
        chain.attempt(
            Call(
                chain.token,
                "permit",
                (account.address, Web3.to_checksum_address(chain.vault.address), 1, *permit),
            )
        )
