"""What a transaction offers per gas (EIP-1559), and the most that it may offer.

The cap of an offer covers a base fee that doubles; only what the block takes is paid. The tip is
what others have lately paid. All amounts in wei per gas.
"""

from dataclasses import dataclass
from statistics import median_low
from typing import Any, Final

from protocol.chain.client import Chain
from protocol.chain.errors import FeeTooHigh

GWEI: Final = 10**9
BUMP_PERCENT: Final = 15
"""Raise of an offer that is stuck; nodes replace a transaction from 10 % on."""
_LEAST_BUMP_PERCENT: Final = 10
_BLOCKS: Final = 10  # whose tips are looked at
_USUAL_TIP: Final = GWEI  # where nobody has paid any


@dataclass(frozen=True, slots=True)
class Offer:
    """The most per gas in all, and for whoever makes the block."""

    cap: int
    tip: int

    def fields(self) -> dict[str, int]:
        """As fields of a transaction."""
        return {"maxFeePerGas": self.cap, "maxPriorityFeePerGas": self.tip}


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """The most that a transaction may ever offer."""

    max_cap: int = 500 * GWEI
    max_tip: int = 50 * GWEI

    def offer(self, chain: Chain) -> Offer:
        """What the next block should take; raises FeeTooHigh where the policy forbids it."""
        base, tip = market_fees(chain)
        tip = min(tip, self.max_tip)
        if base + tip > self.max_cap:
            raise FeeTooHigh(base + tip, self.max_cap)
        return Offer(min(2 * base + tip, self.max_cap), tip)

    def raised(self, old: Offer, chain: Chain) -> Offer | None:
        """A higher offer that replaces `old`, or None where the policy has no room for one."""
        base, tip = market_fees(chain)
        cap = _raise(old.cap, 2 * base + tip, self.max_cap)
        tips = _raise(old.tip, tip, min(self.max_tip, self.max_cap))
        return None if cap is None or tips is None else Offer(cap, min(tips, cap))


def market_fees(chain: Chain) -> tuple[int, int]:
    """Base fee of the next block, and the tip that the middle transaction has lately paid."""
    found: dict[str, Any] = chain.fee_history(_BLOCKS)
    base = int(found["baseFeePerGas"][-1], 16)
    paid = zip(found.get("reward") or [], found["gasUsedRatio"], strict=False)
    tips = [int(reward[0], 16) for reward, used in paid if used and int(reward[0], 16)]
    return base, median_low(tips) if tips else _USUAL_TIP


def _raise(old: int, wanted: int, most: int) -> int | None:
    fresh = min(max(old * (100 + BUMP_PERCENT) // 100 + 1, wanted), most)
    return fresh if fresh * 100 >= old * (100 + _LEAST_BUMP_PERCENT) else None
