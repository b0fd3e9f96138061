"""What can go wrong between a role and the chain."""

from collections.abc import Mapping

from protocol.rules.errors import GradproofError


class ChainError(GradproofError):
    """Root of chain, key and transaction errors."""


class ChainDown(ChainError):
    """The RPC endpoint does not answer."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"the chain at {url} does not answer",
            why=why,
            fix="Start it (`gradproof devnet up`) or set GRADPROOF_RPC_URL to a node that runs.",
        )


class StaleHead(ChainError):
    """The RPC endpoint shows an old chain, on which no role should act."""

    def __init__(self, url: str, behind: int, why: str) -> None:
        super().__init__(
            f"RPC is {behind} blocks behind ({url})",
            why=why,
            fix="Nothing is sent meanwhile. Wait until it has caught up, or name another endpoint "
            "in GRADPROOF_RPC_URL.",
        )
        self.behind = behind


class WrongChain(ChainError):
    """The RPC endpoint serves another chain than the address book names."""

    def __init__(self, url: str, expected: int, found: int) -> None:
        super().__init__(
            f"{url} serves chain {found}, not chain {expected}",
            why="The address book or GRADPROOF_CHAIN_ID names another chain.",
            fix="Point GRADPROOF_RPC_URL at the right chain, or use that chain's address book.",
        )


class NotOurMarket(ChainError):
    """The code at an address is not the code this package was built with."""

    def __init__(
        self,
        name: str,
        address: str,
        expected: bytes,
        found: bytes | None,
        releases: tuple[str, str] | None = None,
    ) -> None:
        why = "There is no contract at this address."
        if found is not None:
            why = f"Its audited code has the hash 0x{expected.hex()}, the code there "
            why += f"0x{found.hex()} (keccak-256, immutables blank)."
        if releases is not None:
            why += f" The address book was written by release {releases[0][:16]} of the contracts, "
            why += f"this is {releases[1][:16]}."
        super().__init__(
            f"the code at {address} is not the {name} of this release",
            why=why,
            fix="Check the address book (GRADPROOF_DEPLOYMENT), or install the release that "
            "deployed this market; do not send money there.",
        )
        self.address = address
        self.expected = expected
        self.found = found


class BookDiffers(ChainError):
    """A market has audited code, but is not the one that the address book describes."""

    def __init__(self, market: str, name: str, said: object, found: object) -> None:
        super().__init__(
            f"the address book does not describe the market at {market}",
            why=f"It says {name} = {said}; by the chain it is {found}.",
            fix="Get the address book from whoever deployed the market; do not edit it.",
        )
        self.name = name


class FactoryMissing(ChainError):
    """The deterministic deployment factory is not on this chain."""

    def __init__(self, factory: str, signer: str, cost: int, other: bool) -> None:
        there = "other code lies there" if other else "there is no code at its address"
        super().__init__(
            f"the deterministic deployment factory {factory} is not on this chain",
            why=f"Addresses that are the same on every chain come from it, and {there}.",
            fix="Without it no market can be deployed at its known addresses."
            if other
            else f"Install it with --install-factory: {cost} wei go to {signer}, whose only "
            "transaction, which everybody knows, creates it (docs/how-to/deploy.md).",
        )


class BadAddressBook(ChainError):
    """The address book is missing or unreadable."""


class WrongPassword(ChainError):
    """A keystore does not open."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the password does not open {path}",
            why="The keystore's checksum differs.",
            fix="Set GRADPROOF_PASSWORD to the password the wallet was made with.",
        )


class WalletError(ChainError):
    """A keystore is missing, unreadable, or would be overwritten."""


class ContractRejected(ChainError):
    """A call reverts with one of the contract's custom errors."""

    def __init__(self, function: str, error: str, values: Mapping[str, object]) -> None:
        plain = {n: "0x" + v.hex() if isinstance(v, bytes) else v for n, v in values.items()}
        shown = ", ".join(f"{name}={value}" for name, value in plain.items())
        super().__init__(
            f"{function} was refused: {error}({shown})",
            why="The contract's rules forbid it in the present state.",
        )
        self.function = function
        self.error = error
        self.values = dict(values)


class TransactionFailed(ChainError):
    """A transaction was mined and reverted, or never mined."""


class TransactionReverted(TransactionFailed):
    """A transaction was mined and reverted; `reason` is the contract's error, where known."""

    def __init__(self, key: str, reason: ContractRejected | None) -> None:
        super().__init__(
            f"the transaction {key} reverted",
            why=reason.what if reason else "The state of now does not say why.",
            fix="Look at the chain again: somebody was faster, or a window closed. Then try again.",
        )
        self.reason = reason


class FeeTooHigh(ChainError):
    """The chain asks more per gas than the operator allows."""

    def __init__(self, asked: int, allowed: int) -> None:
        super().__init__(
            f"gas costs {asked / 10**9:g} gwei, and {allowed / 10**9:g} are allowed",
            why="Nothing was sent.",
            fix="Wait for a quieter chain, or raise GRADPROOF_MAX_FEE_GWEI.",
        )


class KeyInUse(ChainError):
    """Another process sends with the same key."""

    def __init__(self, key: str, holder: str) -> None:
        super().__init__(
            f"{holder} sends with the key {key} already",
            why="Two that count one key's nonces overwrite each other's transactions.",
            fix="Stop that one first, or give each role an operator key of its own.",
        )


class InsufficientFunds(ChainError):
    """A wallet cannot cover what it was asked to pay."""

    def __init__(self, account: str, unit: str, balance: int, needed: int) -> None:
        super().__init__(
            f"{account} holds {balance} {unit}, {needed} are needed",
            why=f"{needed - balance} {unit} are missing.",
            fix="Fund the wallet or lower the amount.",
        )
