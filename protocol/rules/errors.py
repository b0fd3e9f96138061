"""The root of every error a user may meet.

    GradproofError
    |-- RuleError          the protocol forbids it (this package)
    |-- ChainError         chain, keys, transactions (protocol.chain)
    |-- StorageError       content store (protocol.storage)
    |-- ExactError         numeric engine (protocol.exact)
    |-- TrainingError      manifests, data, models (protocol.training)
    `-- SettingsError      configuration (protocol.runtime)

The command line prints `what`, `why` and `fix` of any of them and exits with code 2; anything else
is a defect and keeps its traceback.
"""


class GradproofError(Exception):
    """Something the user can act on: what happened, why, and what to do next."""

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what]
        if self.why:
            parts.append(self.why)
        if self.fix:
            parts.append(self.fix)
        return " ".join(part if part.endswith((".", "?", "!")) else part + "." for part in parts)


class RuleError(GradproofError):
    """The protocol's rules forbid what was asked."""


class BadTerm(RuleError):
    """A job's terms break a bound that the contract enforces at posting."""

    def __init__(self, name: str, value: int, bound: int, rule: str) -> None:
        super().__init__(
            f"{name} = {value} is not allowed",
            why=f"The contract requires {rule}; the bound here is {bound}.",
            fix=f"Change {name} in the job file.",
        )
        self.name = name
        self.value = value
        self.bound = bound
