"""Whether the configured chain, contracts, key and money let a role work.

`market(settings)` gives the checks in the order in which they need each other.
"""

import time
from typing import Final

from eth_typing import ChecksumAddress

from coordinator.checks import Check, Result, State
from protocol.chain.client import Chain
from protocol.chain.endpoints import TOLERATED, shown
from protocol.chain.wallet import address_of, unlock
from protocol.role.connection import open_chain
from protocol.rules.amounts import whole
from protocol.rules.records import Address
from protocol.runtime.settings import Settings

OLD_BLOCK: Final = 60.0  # seconds without a block before it is worth a word
SKEW: Final = 5.0  # seconds that a block may lie in the future of a right clock
GAS_OF_A_ROUND: Final = 5_000_000
"""What a worker or verifier spends in one round, generously."""
FEW_ROUNDS: Final = 20
WEI: Final = 10**18


def market(settings: Settings) -> tuple[Check, ...]:
    """The checks of one configuration; they share one connection. Without a market, one remark."""
    found = _Market(settings)
    if settings.deployment is None and not settings.deployment_path.exists():
        return (found.none_configured,)
    return (
        found.chain,
        found.clock,
        found.operator_key,
        found.gas,
        found.provider,
        found.allowance,
        found.bond,
    )


class _Market:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._chain: Chain | None = None
        self.operator: Address | None = None

    @property
    def connection(self) -> Chain:
        if self._chain is None:
            self._chain = open_chain(self.settings)
        return self._chain

    def none_configured(self) -> list[Result]:
        finding = "none is configured; GRADPROOF_DEPLOYMENT names its address book, and "
        return [Result("market", State.NOTE, finding + "`gradproof devnet up` starts one to try")]

    def chain(self) -> list[Result]:
        """Opening the chain compares every contract with the audited code."""
        chain = self.connection
        where = shown(self.settings.rpc_url)
        on = f"{where}: chain {chain.deployment.chain_id}, block {chain.head()}"
        code = f"the audited code, market {chain.deployment.market}"
        found = [Result("chain", State.OK, on), Result("contracts", State.OK, code)]
        return found + self._endpoints(chain)

    def _endpoints(self, chain: Chain) -> list[Result]:
        """Where several are named, those that would be no help."""
        heads = chain.endpoints.heads()
        if len(heads) == 1:
            return []
        best = max((head for _, head in heads if head is not None), default=0)
        silent = [f"{url} does not answer" for url, head in heads if head is None]
        late = [
            f"{url} is {best - head} blocks behind"
            for url, head in heads
            if head is not None and best - head > TOLERATED
        ]
        if not silent + late:
            finding = f"{len(heads)} of {len(heads)} answer and agree on the head"
            return [Result("endpoints", State.OK, finding)]
        fix = "Mend it, or take it out of GRADPROOF_RPC_URL: it is asked when another one fails."
        return [Result("endpoints", State.WARN, "; ".join(silent + late), fix)]

    def clock(self) -> list[Result]:
        """Blocks carry the time: an old head, or one from the future, names what is wrong."""
        chain = self.connection
        block = chain.retrying(lambda: chain.web3.eth.get_block("latest"))
        age = time.time() - block["timestamp"]
        if age < -SKEW:
            fix = "Set this machine's clock by NTP (timedatectl set-ntp true)."
            finding = f"the newest block lies {-age:.0f} s in this clock's future"
            return [Result("clock", State.WARN, finding, fix)]
        if age > OLD_BLOCK:
            fix = "Wait for the node to catch up, or name another one in GRADPROOF_RPC_URL."
            finding = f"the newest block is {age:.0f} s old by this clock"
            return [Result("clock", State.WARN, finding, fix)]
        return [Result("clock", State.OK, f"the newest block is {max(age, 0):.0f} s old")]

    def operator_key(self) -> list[Result]:
        path = self.settings.wallet_path(self.settings.operator)
        self.operator = address_of(path)
        password = self.settings.password.get_secret_value()
        if not password:
            fix = "Set GRADPROOF_PASSWORD where the role runs."
            finding = f"{self.operator}; no password is set to unlock it"
            return [Result("operator key", State.WARN, finding, fix)]
        unlock(path, password)
        return [Result("operator key", State.OK, f"{self.operator}, unlocked")]

    def gas(self) -> list[Result]:
        assert self.operator is not None
        chain, key = self.connection, ChecksumAddress(self.operator)  # type: ignore[arg-type]  # checksummed
        wei = chain.retrying(lambda: int(chain.web3.eth.get_balance(key)))
        price = chain.retrying(lambda: int(chain.web3.eth.gas_price))
        rounds = wei // (GAS_OF_A_ROUND * max(price, 1))
        finding = f"{wei / WEI:.6f} ether, enough for about {min(rounds, 10**6):,} rounds"
        if rounds >= FEW_ROUNDS:
            return [Result("gas", State.OK, finding)]
        state = State.WARN if rounds else State.FAIL
        return [Result("gas", state, finding, f"Send ether to {self.operator}.")]

    def provider(self) -> list[Result]:
        return [Result("provider", State.OK, self.settings.provider_address())]

    def allowance(self) -> list[Result]:
        """What the owner lets this key lock."""
        assert self.operator is not None
        chain, owner = self.connection, self.settings.provider_address()
        limit, locked = chain.call(chain.vault, "operatorOf", owner, self.operator)
        if limit:
            finding = f"{whole(locked)} of {whole(limit)} tokens are locked"
            return [Result("allowance", State.OK, finding)]
        fix = f"The owner runs: gradproof wallet authorise OWNER {self.operator} LIMIT"
        return [Result("allowance", State.FAIL, "the owner lets this key lock nothing", fix)]

    def bond(self) -> list[Result]:
        chain, owner = self.connection, self.settings.provider_address()
        free = chain.call(chain.vault, "freeOf", owner)
        locked = chain.call(chain.vault, "lockedOf", owner)
        finding = f"{whole(free)} tokens free, {whole(locked)} locked"
        if free or locked:
            return [Result("bond", State.OK, finding)]
        fix = "The owner runs: gradproof wallet deposit OWNER AMOUNT"
        return [Result("bond", State.FAIL, finding, fix)]
