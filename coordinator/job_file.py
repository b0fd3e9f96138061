"""The job file: what a requester writes, in TOML, before a job exists.

    data = "~/texts"            # folder whose text is trained on
    [training]                  # model, schedule, optimiser: see protocol/training/authoring.py
    layers = 4
    [market]                    # money and people; amounts in whole tokens, as strings
    coordinator = "0x..."
    reward = "1"

Every field but `data` and `market.coordinator` has a default; anything unknown is refused.
"""

import math
import tomllib
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from eth_utils.address import is_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from protocol.rules.amounts import UNITS
from protocol.rules.economics import check_terms, smallest_bond, smallest_coordinator_bond
from protocol.rules.errors import GradproofError
from protocol.rules.records import ZERO32, Address, Terms, Windows
from protocol.training.authoring import JobSettings


class JobFileError(GradproofError):
    """The job file cannot be read or says something that makes no job."""


def _checksummed(value: str) -> str:
    if not is_checksum_address(value):
        raise ValueError("not a checksummed address")
    return value


Amount = Annotated[Decimal, Field(ge=0, max_digits=28, decimal_places=18)]
Blocks = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowsSection(_Strict):
    """Length of each window in blocks; the defaults suit blocks of one second.

    Only the two challenge windows, `gather` and `update_challenge`, cost time where all goes well:
    the others end as soon as nothing is left to wait for.
    """

    waiting: Blocks = 300
    commit: Blocks = 300
    check: Blocks = 300
    reveal: Blocks = 120
    gather: Blocks = 6
    verdict_seal: Blocks = 300
    verdict_open: Blocks = 120
    update: Blocks = 300
    update_check: Blocks = 300
    update_open: Blocks = 120
    update_challenge: Blocks = 5


class MarketSection(_Strict):
    """The job's terms on chain; a bond left out is the smallest that the contract accepts."""

    coordinator: Annotated[str, AfterValidator(_checksummed)]
    checks: int = Field(default=1, ge=1)
    gatherers: int = 3
    panel: int = 3
    max_failed_rounds: int = 3
    min_workers: int = 1
    min_verifiers: int | None = None
    reward: Amount = Decimal(1)
    fee: Amount = Decimal(1)
    update_fee: Amount = Decimal("0.5")
    bond: Amount | None = None
    coordinator_bond: Amount | None = None
    windows: WindowsSection = WindowsSection()


class JobFile(_Strict):
    """A whole job file."""

    data: Path
    training: dict[str, Any] = {}
    market: MarketSection

    def settings(self) -> JobSettings:
        """The training section with its defaults; raises JobFileError for unknown names."""
        known = sorted(field.name for field in fields(JobSettings))
        given = {}
        for name, value in self.training.items():
            if name not in known:
                raise _refuse(f"training.{name}", "there is no such setting", known)
            given[name] = _setting(name, value, getattr(JobSettings(), name))
        return JobSettings(**given)

    def terms(
        self,
        manifest: bytes = ZERO32,
        genesis_root: bytes = ZERO32,
        genesis_cid: bytes = ZERO32,
    ) -> Terms:
        """The terms to post; raises BadTerm for what the contract would refuse."""
        market, settings = self.market, self.settings()
        reward, fee, update_fee = (
            units(amount) for amount in (market.reward, market.fee, market.update_fee)
        )
        tasks, checks, panel = settings.tasks, market.checks, market.panel
        bond = market.bond
        coordinator_bond = market.coordinator_bond
        terms = Terms(
            manifest=manifest,
            genesis_root=genesis_root,
            genesis_cid=genesis_cid,
            coordinator=Address(market.coordinator),
            rounds=settings.rounds,
            tasks=tasks,
            checks=checks,
            gatherers=market.gatherers,
            panel=panel,
            max_failed_rounds=market.max_failed_rounds,
            min_workers=market.min_workers,
            min_verifiers=market.min_verifiers or checks + market.gatherers + panel,
            reward=reward,
            fee=fee,
            update_fee=update_fee,
            bond=smallest_bond(reward, tasks, checks, panel, fee, update_fee)
            if bond is None
            else units(bond),
            coordinator_bond=smallest_coordinator_bond(reward, tasks, panel, update_fee)
            if coordinator_bond is None
            else units(coordinator_bond),
            windows=Windows(**market.windows.model_dump()),
        )
        check_terms(terms)
        return terms


TOKENIZERS = ("bytes", "bpe")


def _setting(name: str, value: Any, default: Any) -> Any:
    """A training setting of its default's type; what no manifest shows is bounded here too."""
    where = f"training.{name}"
    if isinstance(default, tuple):
        exact = name == "betas"  # a pair; patterns may be any number
        if not isinstance(value, list) or (exact and len(value) != len(default)) or not value:
            raise _refuse(where, f"{value!r} is not a list like {list(default)}")
        return tuple(_setting(name, item, default[0]) for item in value)
    wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise _refuse(where, f"{value!r} is not of type {type(default).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _refuse(where, f"{value!r} is not finite")
    if isinstance(value, int) and value < (1 if default else 0):
        raise _refuse(where, f"{value} is too small")
    if name == "tokenizer" and value not in TOKENIZERS:
        raise _refuse(where, f"it is one of {', '.join(TOKENIZERS)}")
    return value


def read_job_file(path: Path) -> JobFile:
    """Read a job file; raises JobFileError naming the field at fault."""
    try:
        raw = tomllib.loads(path.read_text())
    except OSError as error:
        raise JobFileError(
            f"there is no job file at {path}",
            why=error.strerror or "It cannot be read.",
            fix="Name a TOML file; `gradproof job post --help` says more.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise JobFileError(
            f"{path} is not TOML", why=str(error), fix="Correct the file at that place."
        ) from None
    try:
        return JobFile.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _refuse(where, str(first["msg"])) from None


def units(amount: Decimal) -> int:
    """Whole tokens to the token's smallest units, exactly."""
    scaled = amount * UNITS
    assert scaled == int(scaled)
    return int(scaled)


def _refuse(where: str, why: str, known: list[str] | None = None) -> JobFileError:
    fix = f"Known are: {', '.join(known)}." if known else f"Correct {where} in the job file."
    return JobFileError(f"the job file's field {where} is not usable", why=why, fix=fix)
