"""Whether the chain that an endpoint shows is the chain of now.

A role that acts on an old head seals for rounds that are over and takes refusals for its own fault.
So before it acts it asks for a fresh head, and says how far behind the endpoint is.
"""

import time
from typing import Final

from protocol.chain.client import Chain
from protocol.chain.endpoints import TOLERATED
from protocol.chain.errors import StaleHead

_MISSED: Final = 20  # blocks that would have had to fail in a row
_SAMPLE: Final = 20  # blocks over which their distance is measured


def fresh_head(chain: Chain, oldest: float = float("inf")) -> int:
    """Number of the newest block; raises StaleHead where the endpoint is behind.

    A newest block older than `oldest` seconds counts as behind where blocks have been coming
    faster: that is all that tells where one endpoint is stuck and no other one is known.
    """
    head, made = chain.newest()
    url = chain.endpoints.name
    behind = chain.endpoints.note(head)
    if behind > TOLERATED:
        seen = f"Its newest block is {head}; block {head + behind} has been seen."
        raise StaleHead(url, behind, seen)
    age = time.time() - made
    if age <= oldest:
        return head
    goal = chain.syncing()
    if goal is not None:
        raise StaleHead(url, max(goal - head, 1), "It says itself that it is syncing.")
    first = max(head - _SAMPLE, 0)
    began = chain.made_at(first)
    interval = (made - began) / (head - first) if began is not None and head > first else age
    missed = int(age / max(interval, 1.0))
    if missed > _MISSED:
        raise StaleHead(
            url,
            missed,
            f"Its newest block is {age:.0f} s old by this machine's clock, "
            f"and blocks come every {interval:.1f} s.",
        )
    return head
