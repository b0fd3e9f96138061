"""The deployment file: what whoever deploys a market writes, in TOML, before it exists.

    token = "0x..."                    # the ERC-20 of all bonds and payments
    [market]                           # constants for ever; amounts in the token's smallest unit
    epoch_blocks = 7200
    ...

The same file gives the same addresses on every chain on which the token has the same address.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from eth_utils.address import is_checksum_address

from protocol.chain.market_config import ConfigError, MarketConfig
from protocol.rules.errors import GradproofError
from protocol.rules.records import Address


class DeploymentFileError(GradproofError):
    """The deployment file cannot be read or describes no market."""


@dataclass(frozen=True, slots=True)
class DeploymentFile:
    """A market to be: its token, its constants, and 32 bytes that tell it from another like it."""

    token: Address
    config: MarketConfig
    salt: bytes


def read_deployment_file(path: Path) -> DeploymentFile:
    """Read a deployment file; raises DeploymentFileError naming the field at fault."""
    try:
        given = tomllib.loads(path.read_text())
    except OSError as error:
        raise DeploymentFileError(
            f"there is no deployment file at {path}",
            why=error.strerror or "It cannot be read.",
            fix="Name a TOML file; docs/how-to/deploy.md shows one.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeploymentFileError(
            f"{path} is not TOML", why=str(error), fix="Correct the file at that place."
        ) from None
    unknown = sorted(set(given) - {"token", "market", "salt"})
    if unknown:
        raise _refuse(unknown[0], "There is no such field: known are token, market and salt.")
    token, salt = given.get("token"), given.get("salt", "00" * 32)
    if not is_checksum_address(token):
        raise _refuse("token", f"{token!r} is not a checksummed address.")
    if not (isinstance(salt, str) and re.fullmatch("[0-9a-f]{64}", salt)):
        raise _refuse("salt", f"{salt!r} is not 64 hex digits.")
    try:
        config = MarketConfig.parse(given.get("market"))
    except ConfigError as error:
        raise _refuse(f"market.{error.name}".rstrip("."), error.why) from None
    return DeploymentFile(Address(str(token)), config, bytes.fromhex(salt))


def _refuse(where: str, why: str) -> DeploymentFileError:
    return DeploymentFileError(
        f"the deployment file's field {where} is not usable",
        why=why,
        fix="Correct it; docs/how-to/deploy.md shows a whole file.",
    )
