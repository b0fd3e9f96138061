"""What a round cost that roles have played: read off the chain, every transaction."""

from collections import defaultdict
from typing import Any

from protocol.chain.client import Chain
from protocol.role.actions import BATCHED
from protocol.rules.history import RoundHistory
from protocol.rules.records import JobId
from tests.support.metered import Spent


def gas_of_round(chain: Chain, job: JobId, round_: RoundHistory) -> Spent:
    """Gas of the transactions to the market, about this job, in the blocks of one round.

    The transaction that ends a round opens the next one, too; it counts for the one that it ends.
    """
    spent: Spent = defaultdict(list)
    first = round_.opened_at + 1 if round_.number else round_.opened_at
    for number in range(first, round_.finalised_at + 1):
        block = chain._request("eth_getBlockByNumber", [hex(number), True])
        for sent in block["transactions"]:
            if (sent["to"] or "").lower() != chain.deployment.market.lower():
                continue
            function, args = chain.market.decode_function_input(sent["input"])
            if args.get("id") != job:
                continue
            receipt = chain._request("eth_getTransactionReceipt", [sent["hash"]])
            spent[_name(function.fn_name, args)].append(int(receipt["gasUsed"], 16))
    return spent


def _name(function: str, args: dict[str, Any]) -> str:
    if function not in BATCHED:
        return function
    parts = args["seals" if function == "sealTasks" else "openings"]
    return f"{function} x{len(parts)}"
