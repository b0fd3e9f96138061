"""The constants that a market is deployed with."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from protocol.chain.beacons import BeaconKind


class ConfigError(ValueError):
    """`name` of a market's constants is missing, unknown or of the wrong kind."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name = name
        self.why = why


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """Constants of one deployment, in the order of Config in Types.sol; amounts in token units.

    The contract wants the beacon's address, which follows from its kind.
    """

    epoch_blocks: int
    beacon_delay: int
    min_window: int
    max_window: int
    max_rounds: int
    max_panel: int
    slot_bond: int
    max_bond: int
    beacon: BeaconKind = BeaconKind.BLOCK_HASH

    def as_json(self) -> dict[str, Any]:
        """The constants as a file holds them; the beacon by its contract's name."""
        return asdict(self) | {"beacon": self.beacon.value}

    @classmethod
    def parse(cls, given: object) -> "MarketConfig":
        """The reverse of `as_json`; raises ConfigError for anything else."""
        names = [field.name for field in fields(cls)]
        if not isinstance(given, dict):
            raise ConfigError("", f"{given!r} is no table of {', '.join(names)}.")
        for name in (*names, *given):
            if name not in names:
                raise ConfigError(name, f"Known are: {', '.join(names)}.")
            if name not in given:
                raise ConfigError(name, "It is missing.")
            if name != "beacon" and (type(given[name]) is not int or given[name] < 0):
                raise ConfigError(name, f"{given[name]!r} is not a whole number.")
        kinds = [kind.value for kind in BeaconKind]
        if given["beacon"] not in kinds:
            raise ConfigError("beacon", f"{given['beacon']!r} is none of {', '.join(kinds)}.")
        return cls(**{**given, "beacon": BeaconKind(given["beacon"])})


DEV_CONFIG = MarketConfig(
    epoch_blocks=4,
    beacon_delay=1,
    min_window=4,
    max_window=600,
    max_rounds=100_000,
    max_panel=13,
    slot_bond=10**18,
    max_bond=10**24,
)
"""For development chains: short epochs, beacons after one block."""
