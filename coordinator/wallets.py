"""What an owner does with money: deposit, authorise an operator, withdraw, collect."""

import time
from typing import Any

from eth_account.signers.local import LocalAccount

from protocol.chain.authorisation import Authorisation, sign_authorisation
from protocol.chain.client import Call, Chain
from protocol.chain.deployment import Deployment
from protocol.chain.errors import ChainError, InsufficientFunds
from protocol.chain.payment import send_paying
from protocol.chain.tx_sender import TxSender
from protocol.chain.wallet import address_of, unlock
from protocol.database.opening import open_database
from protocol.role.connection import fee_policy, open_chain
from protocol.rules.amounts import DECIMALS, whole
from protocol.rules.records import Address
from protocol.runtime.settings import Settings, load_settings


def balances(settings: Settings, name: str) -> dict[str, Any]:
    """Everything a wallet holds, in whole tokens."""
    address = address_of(settings.wallet_path(name))
    chain = open_chain(settings)
    require_decimals(chain)

    def read(function: str) -> str:
        return whole(chain.call(chain.vault, function, address))

    return {
        "name": name,
        "address": address,
        "wei": int(chain.web3.eth.get_balance(address)),  # type: ignore[arg-type]  # a checksummed str
        "tokens": whole(chain.call(chain.token, "balanceOf", address)),
        "free bond": read("freeOf"),
        "locked bond": read("lockedOf"),
        "to collect": read("creditOf"),
    }


def require_decimals(chain: Chain) -> None:
    """Raise ChainError where whole tokens on the command line would mean another amount."""
    decimals = chain.call(chain.token, "decimals")
    if decimals != DECIMALS:
        raise ChainError(
            f"the token {chain.deployment.token} has {decimals} decimals",
            why=f"The command line and job files count in tokens of {DECIMALS} decimals.",
            fix="Send the owner's calls with another wallet, in the token's smallest unit.",
        )


class Owner:
    """An owner key at work; every call waits until it is mined."""

    def __init__(self, chain: Chain, account: LocalAccount, sender: TxSender) -> None:
        self.chain = chain
        self.account = account
        self.sender = sender

    @classmethod
    def open(cls, name: str, password: str) -> "Owner":
        """Open the keystore NAME of the configured home."""
        settings = load_settings()
        account = unlock(settings.wallet_path(name), password)
        chain = open_chain(settings)
        require_decimals(chain)
        engine = open_database(settings.home / f"owner-{account.address}.sqlite")
        return cls(chain, account, TxSender(chain, account, engine, fee_policy(settings)))

    def deposit(self, amount: int) -> None:
        """Deposit, in one transaction where the token knows permits."""
        balance = self.chain.call(self.chain.token, "balanceOf", self.account.address)
        if balance < amount:
            raise InsufficientFunds(self.account.address, "token units", balance, amount)
        deposit = Call(self.chain.vault, "deposit", (amount,))
        send_paying(self.sender, self._key("deposit"), deposit, amount)

    def authorise(self, operator: str, limit: int) -> None:
        """Set the operator's limit."""
        self._send("authorise", Call(self.chain.vault, "authorise", (operator, limit)))

    def submit(self, authorisation: Authorisation) -> None:
        """Send what another owner signed; this key only pays the gas."""
        call = Call(self.chain.vault, "authoriseBySignature", authorisation.args)
        self._send("authoriseBySignature", call)

    def cancel_authorisation(self, operator: str) -> None:
        """Void what was signed for the operator and not sent yet."""
        self._send("cancel", Call(self.chain.vault, "cancelAuthorisation", (operator,)))

    def withdraw(self, amount: int, to: str) -> None:
        """Take free bond out."""
        self._send("withdraw", Call(self.chain.vault, "withdraw", (amount, to)))

    def collect(self, to: str) -> None:
        """Take credits out."""
        self._send("collect", Call(self.chain.vault, "collect", (to,)))

    def _send(self, what: str, call: Call) -> None:
        self.sender.send(self._key(what), call)

    def _key(self, what: str) -> str:
        # A person gave the order now: the key must not match an earlier order.
        return f"{what}/{self.chain.web3.eth.get_transaction_count(self.account.address)}"


def sign_for_operator(
    settings: Settings, name: str, password: str, operator: Address, limit: int, **bounds: int
) -> Authorisation:
    """Sign an authorisation with the owner's keystore NAME.

    `bounds` are `seconds`, how long it is good for, and `nonce`, without which the chain is asked.
    """
    account = unlock(settings.wallet_path(name), password)
    book = Deployment.read(settings.deployment_path)
    nonce = bounds.get("nonce")
    if nonce is None:
        chain = open_chain(settings)
        nonce = chain.call(chain.vault, "authorisationNonce", account.address, operator)
    deadline = int(time.time()) + bounds["seconds"]
    return sign_authorisation(account, book, operator, limit=limit, nonce=nonce, deadline=deadline)
