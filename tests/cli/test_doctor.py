"""`gradproof doctor`: what it finds on this machine, and on machines with something amiss."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from coordinator.checks import Check, Result, State, engine, examine
from coordinator.cli.main import app
from protocol.exact import Profile, machine, route_choice
from protocol.exact.contraction import Float64Route
from protocol.exact.errors import SelfTestFailed
from protocol.exact.kernels import library


@pytest.fixture(autouse=True)
def asked_again() -> Iterator[None]:
    """What the process remembers of its environment is asked again, before and after."""
    caches = (library._load, route_choice._route_from_environment)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def only(check: Check) -> Result:
    [result] = list(check())
    return result


def doctor(monkeypatch: pytest.MonkeyPatch, checks: Sequence[Check], *options: str) -> object:
    """The command with some of the engine's checks: (exit code, what it printed)."""
    monkeypatch.setattr(engine, "ENGINE", tuple(checks))
    ended = CliRunner().invoke(app, ["doctor", "--engine", *options])
    return ended.exit_code, ended.stdout


def test_doctor_onAGoodMachine_saysHowFastItIs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_FEWEST_ROUNDS", 1)
    monkeypatch.setattr(machine, "_PATIENCE", 0.0)
    ended = CliRunner().invoke(app, ["doctor", "--engine", "--json"])

    report = json.loads(ended.stdout)
    found = {entry["name"]: entry for entry in report["checks"]}
    assert ended.exit_code == 0
    assert report["can_compute"] is True
    assert found["float64"]["state"] == "ok"
    assert "GFLOP/s" in found["float64"]["finding"]
    passing = [name for name, right in route_choice.routes().items() if right]
    assert [n for n in found if "GFLOP/s" in found[n]["finding"]] == passing
    assert found["serves, b = 14"]["finding"] == passing[0]
    assert "stock fp32" in found["training step"]["finding"]
    assert f"{torch.get_num_threads()} thread" in found["processor"]["finding"]
    assert all(entry["fix"] for entry in found.values() if entry["state"] in ("warn", "fail"))


def test_doctor_printsAFixBelowItsFinding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Result]:
        yield Result("disk", State.WARN, "nearly full", "Make room.")

    code, out = doctor(monkeypatch, [broken])
    assert code == 0
    first, second, *_ = out.splitlines()
    assert first.split() == ["warn", "disk", "nearly", "full"]
    assert second.strip() == "fix: Make room."
    assert out.endswith("This machine can compute tasks.\n")


def test_missing_compiler_isNamedWithWhatToInstall(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    result = only(engine.compiler)
    assert result.state is State.WARN
    assert "g++" in result.fix
    assert only(engine.kernels).state is State.WARN


def test_kernels_thatAreSwitchedOff_areNamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in ("off", "warp"):
        monkeypatch.setenv(library.SWITCH, setting)
        result = only(engine.kernels)
        assert (result.state, result.fix) == (State.WARN, f"Unset {library.SWITCH}.")
        assert setting in result.finding


def test_cache_thatOthersMayWriteTo_isNamed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(library.SWITCH, raising=False)
    monkeypatch.setenv("GRADPROOF_KERNEL_CACHE", str(tmp_path))
    tmp_path.chmod(0o777)
    result = only(engine.kernels)
    assert result.state is State.WARN
    assert str(tmp_path) in result.finding
    assert "chmod 700" in result.fix


def test_thread_thatFlushesSubnormals_endsTheExamination(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_flush_denormal(True)
    try:
        code, out = doctor(monkeypatch, [engine.subnormals, engine.sums_and_functions])
    finally:
        torch.set_flush_denormal(False)
    assert code == 1
    assert out.startswith("fail  subnormals")
    assert "set_flush_denormal(False)" in out
    assert "known answers" not in out
    assert "This machine cannot compute tasks: subnormal numbers are flushed" in out


def test_unknown_route_inTheEnvironment_isAFailure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADPROOF_EXACT_ROUTE", "abacus")
    code, out = doctor(monkeypatch, [engine.chosen_route], "--json")
    report = json.loads(out)
    assert code == 1
    assert report["can_compute"] is False
    assert "abacus" in report["checks"][0]["finding"]
    assert report["checks"][0]["fix"] == "Unset GRADPROOF_EXACT_ROUTE."


def test_chosen_route_thatCannotServe_isAWarning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADPROOF_EXACT_ROUTE", "kernels-scalar")
    monkeypatch.setenv(library.SWITCH, "off")
    result = only(engine.chosen_route)
    assert result.state is State.WARN
    assert "float64 does instead" in result.finding


def test_busy_machine_isNoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (7.0, 0.0, 0.0))
    assert only(engine.load).finding.startswith("7.0 processes want 2 cores")
    monkeypatch.setattr("os.getloadavg", lambda: (1.0, 9.0, 9.0))
    assert not list(engine.load())


class LyingRoute(Float64Route):
    """Off by one unit in the last place."""

    name = "lying"

    def gemm(self, a: Tensor, b: Tensor, profile: Profile) -> Tensor:
        return torch.nextafter(super().gemm(a, b, profile), torch.tensor(torch.inf))


def test_lying_route_isReportedAndNotTimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route_choice, "ROUTES", (LyingRoute(), Float64Route()))
    lying, honest, *_ = engine.gemm_routes()
    assert (lying.name, lying.state) == ("lying", State.WARN)
    assert "instead of" in lying.finding
    assert (honest.name, honest.state) == ("float64", State.OK)


def test_machine_withoutARightRoute_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> str:
        raise SelfTestFailed("no GEMM route gives the known answers")

    monkeypatch.setattr(machine, "serving_route", none)
    code, out = doctor(monkeypatch, [engine.gemm_routes, engine.training_step])
    assert code == 1
    assert "cannot compute tasks: no GEMM route" in out
    assert "training step" not in out


def test_typed_error_ofACheck_isItsFailure() -> None:
    def disk_space() -> Iterator[Result]:
        raise SelfTestFailed("no room", why="It is full.", fix="Make room.")
        yield

    def after() -> Iterator[Result]:
        yield Result("after", State.OK, "")

    assert list(examine([[disk_space, after], [after]])) == [
        Result("disk space", State.FAIL, "no room It is full.", "Make room."),
        Result("after", State.OK, ""),
    ]
