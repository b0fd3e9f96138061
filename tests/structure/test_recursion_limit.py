"""A dependency lifts Python's recursion limit; nothing that parses strangers' JSON may run so."""

import json
import subprocess
import sys

import pytest

LIMIT = "import sys; print(sys.getrecursionlimit())"


@pytest.mark.parametrize(
    "imports",
    [
        "import eth_account, web3, protocol.storage",
        "import protocol.rules, eth_account, web3",
        "import protocol.chain.client, coordinator.cli.main",
    ],
)
def test_recursion_limit_stays_at_the_default(imports: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; {LIMIT}"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == 1_000


def test_nested_json_raises_where_it_would_end_the_process() -> None:
    with pytest.raises(RecursionError):
        json.loads("[" * 100_000)
