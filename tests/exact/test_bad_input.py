"""What a stranger may bring that the profile cannot take: a typed error each, with the place."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from protocol import exact as engine
from protocol.exact import exact
from tests.support.exact_families import FAMILIES, gpt2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_parameters_of_another_type_are_refused(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).to(dtype)
    with exact(), pytest.raises(engine.UnsupportedDtype, match="float32") as caught:
        model(torch.ones(2, 4, dtype=dtype))
    assert caught.value.dtype == str(dtype)
    assert caught.value.where.startswith(__file__)


@pytest.mark.parametrize("name", ["lstm", "gru", "conv2d, batch norm", "attention module"])
def test_halved_module_is_refused_where_calls_are_replaced_too(name: str) -> None:
    module, loss_of = FAMILIES[name]()
    module.half()
    with exact(seed=1), pytest.raises(engine.UnsupportedDtype):
        loss_of(module)


def test_model_on_two_devices_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    with exact(), pytest.raises(engine.MixedDevices, match="one device") as caught:
        model(torch.ones(2, 4))
    assert caught.value.devices == ("meta",)  # no other second device is at every hand
    assert caught.value.where.startswith(__file__)
    with exact(), pytest.raises(engine.MixedDevices) as caught:
        torch.ones(3) * torch.ones(3, device="meta")
    assert caught.value.devices == ("cpu", "meta")


def test_model_without_values_is_refused() -> None:
    model = nn.Linear(4, 4, device="meta")
    with exact(), pytest.raises(engine.MixedDevices, match="meta"):
        model(torch.ones(2, 4, device="meta"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_end_as_nonfinite(bad: float) -> None:
    for name in ("gpt2", "lstm", "conv1d, group norm"):
        module, loss_of = FAMILIES[name]()
        with torch.no_grad():
            next(p for p in module.parameters() if p.ndim > 1).fill_(bad)
        with exact(), pytest.raises(engine.NonFinite, match="NONFINITE"):
            loss_of(module)


def test_autocast_around_and_inside_is_refused() -> None:
    module, loss_of = gpt2()
    autocast = torch.autocast("cpu", dtype=torch.bfloat16)
    with autocast, pytest.raises(engine.AutocastActive), exact():
        pass
    with exact(), autocast, pytest.raises(engine.AutocastActive):
        loss_of(module)


def test_entering_inside_compiled_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(engine.CompiledCode, match="plain module"), exact():
        pass


def test_loader_that_draws_inside_is_refused_with_the_way_out() -> None:
    loader = torch.utils.data.DataLoader(torch.ones(4, 2))
    with exact(), pytest.raises(engine.UnsupportedOp, match="DataLoader before"):
        next(iter(loader))


def test_refused_call_names_itself_its_shapes_and_the_line() -> None:
    with exact(), pytest.raises(engine.UnsupportedOp) as caught:
        torch.linalg.inv(torch.ones(3, 3))
    error = caught.value
    assert error.name.startswith("linalg_inv")
    assert error.shapes == ("float32[3, 3]",)
    assert error.where.startswith(__file__)
    with exact(), pytest.raises(engine.UnsupportedOp) as caught:
        F.group_norm(torch.ones(2, 3, 4), 2)
    assert caught.value.name == "group_norm"
    assert caught.value.shapes[0] == "float32[2, 3, 4]"
    assert caught.value.where.startswith(__file__)
