"""Configuration of one process: a frozen Settings, read from GRADPROOF_* at the edge."""

import json
from pathlib import Path

from eth_utils.address import is_checksum_address
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from protocol.rules.errors import GradproofError
from protocol.rules.records import Address


class SettingsError(GradproofError):
    """A GRADPROOF_* variable is missing or makes no sense."""


class Settings(BaseSettings):
    """What a process needs to know before it reads the chain."""

    model_config = SettingsConfigDict(env_prefix="GRADPROOF_", frozen=True, extra="ignore")

    home: Path = Path.home() / ".gradproof"
    rpc_url: str = "http://127.0.0.1:8545"
    chain_id: int | None = None
    deployment: Path | None = None
    ipfs_api: str = ""
    ipfs_gateways: str = ""
    password: SecretStr = SecretStr("")
    operator: str = "operator"
    provider: str = ""
    confirmations: int = 1
    poll_seconds: float = 0.2
    log_format: str = "console"
    log_level: str = "info"
    cache_bytes: int = 20 * 2**30

    @property
    def deployment_path(self) -> Path:
        """The address book."""
        return self.deployment or self.home / "deployment.json"

    @property
    def apis(self) -> list[str]:
        """Addresses of content store daemons, first one preferred."""
        return [part.strip() for part in self.ipfs_api.split(",") if part.strip()]

    @property
    def gateways(self) -> list[str]:
        """Addresses of gateways to read from."""
        return [part.strip() for part in self.ipfs_gateways.split(",") if part.strip()]

    def wallet_path(self, name: str) -> Path:
        """Where the keystore `name` lies."""
        return self.home / "wallets" / f"{name}.json"

    def provider_address(self) -> Address:
        """The owner this operator works for; raises SettingsError where it is not set."""
        if not self.provider:
            raise SettingsError(
                "no provider is set",
                why="An operator key works for an owner, whose bond it locks.",
                fix="Set GRADPROOF_PROVIDER to the owner's address.",
            )
        if not is_checksum_address(self.provider):
            raise SettingsError(
                "GRADPROOF_PROVIDER is not usable",
                why=f"{self.provider!r} is not a checksummed address.",
                fix="Set GRADPROOF_PROVIDER to the owner's address.",
            )
        return Address(self.provider)


def _devnet_defaults(settings: Settings) -> dict[str, object]:
    """Where a development network runs from this home, its addresses stand in for unset ones."""
    try:
        found = json.loads((settings.home / "devnet.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    given = settings.model_fields_set
    names = {"rpc_url", "ipfs_api"} - given
    defaults: dict[str, object] = {name: found[name] for name in names if name in found}
    if "deployment" not in given and "deployment" in found:
        defaults["deployment"] = Path(found["deployment"])
    return defaults


def load_settings() -> Settings:
    """Read the environment; raises SettingsError naming the variable at fault."""
    try:
        settings = Settings()
        return settings.model_copy(update=_devnet_defaults(settings))
    except ValidationError as error:
        first = error.errors()[0]
        name = "GRADPROOF_" + "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            f"{name} is not usable", why=str(first["msg"]), fix=f"Correct or unset {name}."
        ) from None
