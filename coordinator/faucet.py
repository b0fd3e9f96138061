"""Giving away a development chain's money: ether by decree, tokens from the deployer's supply."""

from collections.abc import Sequence
from pathlib import Path

from eth_account import Account

from protocol.chain.anvil import FAUCET_KEY
from protocol.chain.client import Call, Chain
from protocol.chain.tx_sender import TxSender
from protocol.database.opening import open_database
from protocol.rules.records import Address

ETHER = 10**18


def fund(chain: Chain, home: Path, accounts: Sequence[tuple[Address, int]]) -> None:
    """Give each account 100 ether for gas and its amount of tokens (smallest units)."""
    engine = open_database(home / "faucet.sqlite")
    sender = TxSender(chain, Account.from_key(FAUCET_KEY), engine)
    keys = []
    for address, tokens in accounts:
        chain.set_balance(address, 100 * ETHER)
        if tokens:
            nonce = chain.web3.eth.get_transaction_count(sender.account.address, "pending")
            key = f"fund/{address}/{nonce}"
            sender.submit(key, Call(chain.token, "transfer", (address, tokens)))
            keys.append(key)
    for key in keys:
        sender.wait(key)
