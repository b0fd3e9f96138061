"""A role's folder is one market's."""

from pathlib import Path

import pytest

from protocol.role.home import HomeOfAnotherMarket, claim_home


def test_folder_of_one_market_is_refused_by_another(tmp_path: Path) -> None:
    home = tmp_path / "worker"
    claim_home(home, "1/0xA")
    claim_home(home, "1/0xA")
    with pytest.raises(HomeOfAnotherMarket, match="belongs to the market 1/0xA, not to 1/0xB"):
        claim_home(home, "1/0xB")


def test_note_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "market").write_text("")
    claim_home(tmp_path, "1/0xB")
    with pytest.raises(HomeOfAnotherMarket):
        claim_home(tmp_path, "1/0xA")
