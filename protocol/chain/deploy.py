"""Putting a market on a chain, at the same addresses on every chain.

What is there already is recognised and left alone, so a deployment that was cut short is finished
by starting it again; and since creation needs no privilege, it does not matter who created what.
"""

import time
from collections.abc import Callable, Sequence

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.exceptions import ContractCustomError, ContractLogicError, Web3Exception

from protocol.chain.artifacts import release_hash
from protocol.chain.audited import CodeOf, check_deployment, code_reader
from protocol.chain.create2 import FACTORY, require_factory
from protocol.chain.creator import Creator
from protocol.chain.deployment import Deployment
from protocol.chain.errors import ChainError, TransactionFailed
from protocol.chain.market_config import MarketConfig
from protocol.chain.plan import Creation, Plan, plan_dev_token, plan_market
from protocol.chain.refusals import refusal
from protocol.rules.records import ZERO32, Address

Progress = Callable[[str, Address, bool], None]
ARRIVAL_SECONDS = 20.0
"""How long code may take to appear after the deployer's own transactions are mined."""


def deploy(
    web3: Web3,
    deployer: LocalAccount,
    config: MarketConfig,
    token: Address | None = None,
    *,
    salt: bytes = ZERO32,
    progress: Progress | None = None,
) -> Deployment:
    """Deploy a market for `token`, or for a DevToken whose supply `deployer` then holds.

    `progress(name, address, new)` tells of each contract. The market is checked before its book is
    returned. Raises FactoryMissing, ContractRejected (a constant out of bounds, a token without
    code), InsufficientFunds, TransactionFailed, NotOurMarket.
    """
    require_factory(web3)
    if token is None:
        dev_token = plan_dev_token(Address(deployer.address))
        _create(web3, deployer, [dev_token], progress)
        token = dev_token.address
    plan = plan_market(token, config, salt)
    code_of = code_reader(web3)
    here = bool(code_of(plan.market))
    block = first_block_with_code(web3, plan.market) if here else int(web3.eth.block_number)
    if not here:
        # The constructor asks token and beacon; nothing else is created before it would succeed.
        _create(web3, deployer, [plan.beacon], progress)
        _try_constructor(web3, deployer, plan.creations[-1])
    others = [creation for creation in plan.creations if here or creation != plan.beacon]
    _create(web3, deployer, others, progress)
    book = make_book(int(web3.eth.chain_id), plan, token, config, salt, block)
    check_deployment(web3, book)
    return book


def make_book(
    chain_id: int, plan: Plan, token: Address, config: MarketConfig, salt: bytes, block: int
) -> Deployment:
    """The address book of a planned market."""
    return Deployment(
        chain_id,
        plan.market,
        plan.vault,
        token,
        block,
        config,
        salt,
        plan.libraries,
        release_hash(),
    )


def first_block_with_code(web3: Web3, address: Address) -> int:
    """The block that created a contract, by bisection; raises ChainError where the node forgot."""
    low, high = 0, int(web3.eth.block_number)
    at = Web3.to_checksum_address(address)
    try:
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if web3.eth.get_code(at, middle) else (middle + 1, high)
    except Web3Exception as error:
        raise ChainError(
            f"the block in which {address} was created cannot be found",
            why=f"The node does not answer about old blocks: {error}",
            fix="Use an archive node once, or the address book of whoever deployed the market.",
        ) from None
    return low


def _try_constructor(web3: Web3, deployer: LocalAccount, creation: Creation) -> None:
    """Evaluate a creation without sending it: the factory would swallow the reason of a revert."""
    try:
        web3.eth.call(
            {"from": deployer.address, "data": Web3.to_hex(creation.init_code)}, "pending"
        )
    except (ContractCustomError, ContractLogicError) as error:
        raise refusal(f"creating {creation.name}", error) from None


def _create(
    web3: Web3, deployer: LocalAccount, creations: Sequence[Creation], progress: Progress | None
) -> None:
    """Create what is not there yet and wait until all of it is."""
    code_of = code_reader(web3)
    creator = Creator(web3, deployer)
    sent = set()
    for creation in creations:
        if code_of(creation.address):
            continue
        try:
            creator.send(FACTORY, creation.salt + creation.init_code)
            sent.add(creation.name)
        except ContractLogicError:
            pass  # somebody's creation of the same is under way: what counts is whether it arrives
    creator.finish()
    for creation in creations:
        _await_code(code_of, creation)
        if progress is not None:
            progress(creation.name, creation.address, creation.name in sent)


def _await_code(code_of: CodeOf, creation: Creation) -> None:
    """Wait for code that may come from another's transaction, or from one of an earlier attempt."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while not code_of(creation.address):
        if time.monotonic() > deadline:
            raise TransactionFailed(
                f"{creation.name} could not be deployed",
                why=f"No code appeared at {creation.address}.",
                fix="Deploy again: what is on the chain already is kept.",
            )
        time.sleep(0.1)
