"""What an owner does with money: deposit, authorise an operator, withdraw, collect."""

from typing import Any

from eth_account.signers.local import LocalAccount

from coordinator.job_file import whole
from protocol.chain.client import Chain
from protocol.chain.database import open_database
from protocol.chain.errors import InsufficientFunds
from protocol.chain.tx_sender import Call, TxSender
from protocol.chain.wallet import address_of, unlock
from protocol.role.connection import open_chain
from protocol.runtime.settings import Settings, load_settings


def balances(settings: Settings, name: str) -> dict[str, Any]:
    """Everything a wallet holds, in whole tokens."""
    address = address_of(settings.wallet_path(name))
    chain = open_chain(settings)

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
        engine = open_database(settings.home / f"owner-{account.address}.sqlite")
        return cls(chain, account, TxSender(chain, account, engine))

    def deposit(self, amount: int) -> None:
        """Approve and deposit."""
        balance = self.chain.call(self.chain.token, "balanceOf", self.account.address)
        if balance < amount:
            raise InsufficientFunds(self.account.address, "token units", balance, amount)
        self._send("approve", Call(self.chain.token, "approve", (self.chain.vault.address, amount)))
        self._send("deposit", Call(self.chain.vault, "deposit", (amount,)))

    def authorise(self, operator: str, limit: int) -> None:
        """Set the operator's limit."""
        self._send("authorise", Call(self.chain.vault, "authorise", (operator, limit)))

    def withdraw(self, amount: int, to: str) -> None:
        """Take free bond out."""
        self._send("withdraw", Call(self.chain.vault, "withdraw", (amount, to)))

    def collect(self, to: str) -> None:
        """Take credits out."""
        self._send("collect", Call(self.chain.vault, "collect", (to,)))

    def _send(self, what: str, call: Call) -> None:
        # A person gave the order now: the key must not match an earlier order.
        nonce = self.chain.web3.eth.get_transaction_count(self.account.address)
        self.sender.send(f"{what}/{nonce}", call)
