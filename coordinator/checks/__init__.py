"""What `gradproof doctor` looks at: small checks, each of which says what it found.

A check is a function without arguments that yields results. Checks stand in groups; a failure ends
its group, because what follows there needs what failed. INVARIANT: a check changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocol.rules.errors import GradproofError


class State(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, nothing is there to use."""
    WARN = "warn"
    """It works, but not as well as it could: there is a fix."""
    FAIL = "fail"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report; `fix` is what to do, empty where there is nothing to do."""

    name: str
    state: State
    finding: str
    fix: str = ""


Check = Callable[[], Iterable[Result]]


def examine(groups: Sequence[Sequence[Check]]) -> Iterator[Result]:
    """Run the checks in order; a typed error of a check is its failure."""
    for group in groups:
        for check in group:
            results = list(_outcome(check))
            yield from results
            if any(result.state is State.FAIL for result in results):
                break


def _outcome(check: Check) -> Iterator[Result]:
    try:
        yield from check()
    except GradproofError as error:
        finding = " ".join(part for part in (error.what, error.why) if part)
        name = check.__name__.strip("_").replace("_", " ")
        yield Result(name, State.FAIL, finding, error.fix)
