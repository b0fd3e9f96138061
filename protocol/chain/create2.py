"""Addresses that depend on nothing but the code: CREATE2 through the well-known factory.

The factory takes a salt and init code and creates that. It has no owner and no state. One
transaction that nobody has a key for brought it to every chain, so it lies at the same address on
all of them.
"""

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3 import Web3
from web3.exceptions import Web3RPCError

from protocol.chain.creator import Creator
from protocol.chain.errors import ChainError, FactoryMissing
from protocol.rules.records import Address

FACTORY = Address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
FACTORY_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
)
FACTORY_SIGNER = Address("0x3fAB184622Dc19b6109349B94811493BF2a45362")
"""Follows from the made-up signature of FACTORY_TRANSACTION; nobody has its key."""
FACTORY_COST = 10**16
"""Wei that the signer must hold: 100,000 gas at the 100 gwei that the transaction names."""
FACTORY_TRANSACTION = bytes.fromhex(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe"
    + FACTORY_CODE.hex()
    + "1ba02222222222222222222222222222222222222222222222222222222222222222"
    "a02222222222222222222222222222222222222222222222222222222222222222"
)


def create2_address(init_code: bytes, salt: bytes) -> Address:
    """Where the factory puts `init_code` (any length) under `salt` (32 bytes), on any chain."""
    text = b"\xff" + bytes.fromhex(FACTORY[2:]) + salt + keccak(init_code)
    return Address(to_checksum_address(keccak(text)[12:]))


def created_by(creator: Address) -> Address:
    """Where a contract's first own creation lies (CREATE with nonce 1)."""
    text = b"\xd6\x94" + bytes.fromhex(creator[2:]) + b"\x01"  # RLP of [address, 1]
    return Address(to_checksum_address(keccak(text)[12:]))


def require_factory(web3: Web3) -> None:
    """Raise FactoryMissing unless the factory, and nothing else, is where it belongs."""
    code = bytes(web3.eth.get_code(Web3.to_checksum_address(FACTORY)))
    if code != FACTORY_CODE:
        raise FactoryMissing(FACTORY, FACTORY_SIGNER, FACTORY_COST, bool(code))


def install_factory(web3: Web3, payer: LocalAccount) -> None:
    """Bring the factory to a chain that lacks it; `payer` gives its signer FACTORY_COST wei.

    Raises ChainError where the node takes no transaction without a chain id, or the chain asks for
    more gas than the transaction brings.
    """
    signer = Web3.to_checksum_address(FACTORY_SIGNER)
    missing = FACTORY_COST - int(web3.eth.get_balance(signer))
    if missing > 0:
        creator = Creator(web3, payer)
        creator.send(FACTORY_SIGNER, b"", missing)
        creator.finish()
    try:
        sent = web3.eth.send_raw_transaction(FACTORY_TRANSACTION)
        web3.eth.wait_for_transaction_receipt(sent, 60, 0.1)
    except Web3RPCError as error:
        raise ChainError(
            "the deterministic deployment factory cannot be installed",
            why=str(error),
            fix="Send its transaction through a node that takes transactions without a chain id "
            "(geth: --rpc.allow-unprotected-txs), or ask the chain's operators for the factory.",
        ) from None
    require_factory(web3)
