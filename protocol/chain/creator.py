"""Sending a deployment's transactions one behind the other, then waiting for all of them."""

from typing import Any

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.types import TxParams

from protocol.chain.errors import InsufficientFunds
from protocol.rules.records import Address

TIP = 10**9
GAS_MARGIN = 50_000
RECEIPT_SECONDS = 120


class Creator:
    """One key's transactions. Nothing is stored.

    A deployment that was cut short begins again and finds on the chain what is there already.
    """

    def __init__(self, web3: Web3, account: LocalAccount) -> None:
        self.web3 = web3
        self.account = account
        self.nonce = int(web3.eth.get_transaction_count(account.address, "pending"))
        self._sent: list[HexBytes] = []

    def send(self, to: Address, data: bytes, value: int = 0) -> None:
        """Sign and send; raises InsufficientFunds, and ContractLogicError for what would revert."""
        eth = self.web3.eth
        fee = 2 * eth.get_block("latest")["baseFeePerGas"] + TIP
        fields: dict[str, Any] = {
            "from": self.account.address,
            "to": Web3.to_checksum_address(to),
            "data": data,
            "value": value,
        }
        request: TxParams = fields  # type: ignore[assignment]  # built field by field
        gas = int(eth.estimate_gas(request, "pending")) + GAS_MARGIN
        needed, balance = value + gas * fee, int(eth.get_balance(self.account.address, "pending"))
        if balance < needed:
            raise InsufficientFunds(Address(self.account.address), "wei", balance, needed)
        fields |= {
            "nonce": self.nonce,
            "chainId": eth.chain_id,
            "gas": gas,
            "maxFeePerGas": fee,
            "maxPriorityFeePerGas": TIP,
        }
        signed = self.account.sign_transaction(fields)
        self._sent.append(eth.send_raw_transaction(signed.raw_transaction))
        self.nonce += 1

    def finish(self) -> None:
        """Wait until every transaction is mined, whatever came of it."""
        for sent in self._sent:
            self.web3.eth.wait_for_transaction_receipt(sent, RECEIPT_SECONDS, 0.1)
        self._sent.clear()
