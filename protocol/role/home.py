"""A role's folder belongs to one market: its database and openings know jobs by number alone."""

from pathlib import Path

from protocol.rules.errors import GradproofError


class HomeOfAnotherMarket(GradproofError):
    """The folder holds what a role knows and owes in another market."""

    def __init__(self, home: Path, theirs: str, ours: str) -> None:
        super().__init__(
            f"{home} belongs to the market {theirs}, not to {ours}",
            why="Jobs of two markets have the same numbers, and different seals.",
            fix="Set GRADPROOF_HOME to a folder of this market's own.",
        )


def claim_home(home: Path, market: str) -> None:
    """Note whose folder this is, or see that it is ours; raises HomeOfAnotherMarket."""
    home.mkdir(parents=True, exist_ok=True)
    note = home / "market"
    found = note.read_text().strip() if note.exists() else ""
    if found and found != market:
        raise HomeOfAnotherMarket(home, found, market)
    if not found:  # a note that was cut short is none
        note.write_text(market + "\n")
