"""Configuration of one process: a frozen Settings, read from GRADPROOF_* at the edge."""

import json
import os
from pathlib import Path
from typing import Any

from eth_utils.address import is_checksum_address
from pydantic import Field, SecretStr, ValidationError
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
    database: SecretStr = SecretStr("")
    broker: SecretStr = SecretStr("")
    queue: str = Field(default="compute", pattern=r"^[A-Za-z0-9_-]{1,60}$")
    lease_seconds: float = Field(default=30.0, gt=0)
    look_seconds: float = Field(default=2.0, gt=0)
    compute_here: bool = True
    device: str = Field(default="auto", min_length=1)
    password: SecretStr = SecretStr("")
    operator: str = "operator"
    provider: str = ""
    confirmations: int = Field(default=1, ge=1)
    poll_seconds: float = Field(default=0.2, gt=0)
    head_seconds: float = 300.0
    max_fee_gwei: float = 500.0
    max_tip_gwei: float = 50.0
    log_format: str = "console"
    log_level: str = "info"
    metrics: str = ""
    cache: Path | None = None
    cache_bytes: int = 20 * 2**30

    @property
    def deployment_path(self) -> Path:
        """The address book."""
        return self.deployment or self.home / "deployment.json"

    @property
    def cache_path(self) -> Path:
        """The cache of verified files; several homes may share one."""
        return self.cache or self.home / "cache"

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


def _found_defaults(settings: Settings) -> dict[str, object]:
    """What runs from this home stands in for unset addresses: a devnet, or a served store."""
    given = settings.model_fields_set
    defaults: dict[str, object] = {}
    served = _running(settings.home / "store.json")
    if "ipfs_api" not in given and "api_url" in served:
        defaults["ipfs_api"] = served["api_url"]
    devnet = _running(settings.home / "devnet.json")
    names = {"rpc_url", "ipfs_api"} - given
    defaults |= {name: devnet[name] for name in names if name in devnet}
    if "deployment" not in given and "deployment" in devnet:
        defaults["deployment"] = Path(devnet["deployment"])
    return defaults


def _running(state: Path) -> dict[str, Any]:
    """What a process of this home says of itself in a file; nothing where it is gone."""
    try:
        found: dict[str, Any] = json.loads(state.read_text())
        os.kill(found["pid"], 0)
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return found


def _secrets_folder() -> Path | None:
    """Where files hold what should not stand in the environment; raises SettingsError."""
    named = os.environ.get("GRADPROOF_SECRETS", "")
    if not named:
        return None
    why = _unreadable(Path(named))
    if why:
        raise SettingsError(
            "GRADPROOF_SECRETS is not usable",
            why=why,
            fix="Name a folder whose gradproof_password this user may read, or unset it.",
        )
    return Path(named)


def _unreadable(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder."
    for path in (folder, *folder.glob("gradproof_*")):
        if not os.access(path, os.R_OK):
            return f"This user (id {os.getuid()}) may not read {path}."
    return ""


def load_settings() -> Settings:
    """Read the environment; raises SettingsError naming the variable at fault."""
    folder = _secrets_folder()
    try:
        settings = Settings(_secrets_dir=folder)  # type: ignore[call-arg]  # pydantic's own
        return settings.model_copy(update=_found_defaults(settings))
    except ValidationError as error:
        first = error.errors()[0]
        name = "GRADPROOF_" + "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            f"{name} is not usable", why=str(first["msg"]), fix=f"Correct or unset {name}."
        ) from None
