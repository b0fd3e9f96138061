"""What a stranger may bring that the profile cannot take: a typed error each, with the place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import currentframe
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.utils.checkpoint import checkpoint

from protocol import exact as engine
from protocol.exact import exact
from tests.support.exact_families import FAMILIES, tokens
from tests.support.exact_models import gpt2


def line(offset: int = 0) -> str:
    """The caller's line as errors write it, or one `offset` lines further down."""
    caller = currentframe().f_back
    return f"{__file__}:{caller.f_lineno + offset}"


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
    assert caught.value.devices == ("cpu", "meta")  # no other second device is at every hand
    assert caught.value.where.startswith(__file__)
    with exact(), pytest.raises(engine.MixedDevices) as caught:
        torch.ones(3) * torch.ones(3, device="meta")
    assert caught.value.devices == ("cpu", "meta")


def test_model_without_values_is_refused() -> None:
    model = nn.Linear(4, 4, device="meta")
    with exact(), pytest.raises(engine.MixedDevices, match="meta"):
        model(torch.ones(2, 4, device="meta"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_model_on_processor_and_gpu_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="cuda"))
    with exact(), pytest.raises(engine.MixedDevices, match="one device") as caught:
        model(torch.ones(2, 4))
    assert caught.value.devices == ("cpu", "cuda:0")
    assert caught.value.where.startswith(__file__)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["gpt2", "lstm", "conv1d, group norm"])
def test_weights_that_are_not_finite_end_as_nonfinite(name: str, bad: float) -> None:
    module, loss_of = FAMILIES[name]()
    spoilt, parameter = next((n, p) for n, p in module.named_parameters() if p.ndim > 1)
    with torch.no_grad():
        parameter.fill_(bad)
    with exact(), pytest.raises(engine.NonFinite, match="NONFINITE") as caught:
        loss_of(module)
    assert caught.value.op in {"gemm", "sum"}
    assert caught.value.where
    assert caught.value.operand.startswith("float32")
    assert caught.value.parameter == spoilt
    assert f"The parameter {spoilt} is not finite" in str(caught.value)


def test_overflow_is_told_from_bad_weights() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1))
    with torch.no_grad():
        model[0].weight.fill_(3e38)
    with exact(), pytest.raises(engine.NonFinite) as caught:
        model(torch.full((2, 4), 3e38))
    assert caught.value.call == "_softmax"
    assert caught.value.operand == "float32[2, 4]"
    assert caught.value.parameter == ""


def test_autocast_around_and_inside_is_refused() -> None:
    module, loss_of = gpt2()
    autocast = torch.autocast("cpu", dtype=torch.bfloat16)
    with (
        autocast,
        pytest.raises(engine.AutocastActive, match="Leave the autocast") as caught,
        exact(),
    ):
        pass
    assert caught.value.where.startswith(__file__)
    with exact(), autocast, pytest.raises(engine.AutocastActive) as caught:
        loss_of(module)
    assert "called from" in caught.value.where  # transformers' line, then the loss's own


# Compiled code ------------------------------------------------------------------------------------


def _tanh_of_square(x: Tensor) -> Tensor:
    return (x @ x).tanh()


@pytest.fixture
def compiler() -> Iterator[Callable[[Any], Any]]:
    yield lambda function: torch.compile(function, backend="eager")
    torch._dynamo.reset()


@pytest.mark.parametrize("before", [False, True])
def test_compiled_function_inside_is_refused(compiler: Callable[[Any], Any], before: bool) -> None:
    compiled, x = compiler(_tanh_of_square), torch.ones(3, 3)
    if before:  # what was compiled already must not run either
        compiled(x)
    with exact():
        for _ in range(2):
            with pytest.raises(engine.CompiledCode, match="plain module") as caught:
                compiled(x)
            assert caught.value.where.startswith(__file__)
        _tanh_of_square(x)
    compiled(x)  # outside it still runs


def test_compiled_module_inside_is_refused(compiler: Callable[[Any], Any]) -> None:
    module = nn.Linear(3, 3)
    in_place = nn.Linear(3, 3)
    in_place.compile(backend="eager")
    for compiled in (compiler(module), in_place):
        with exact(), pytest.raises(engine.CompiledCode):
            compiled(torch.ones(2, 3))
    with exact():
        module(torch.ones(2, 3))


@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace")
def test_compiled_function_around_is_refused(compiler: Callable[[Any], Any]) -> None:
    def step(x: Tensor) -> Tensor:
        with exact():
            return _tanh_of_square(x)

    with pytest.raises(engine.CompiledCode, match="plain module") as caught:
        compiler(step)(torch.ones(3, 3))
    assert caught.value.where.startswith(__file__)


# Where a refused call was made --------------------------------------------------------------------


def test_backward_pass_names_its_line_and_the_forward_call() -> None:
    p, target = (torch.full((3,), 0.5).requires_grad_() for _ in range(2))
    with exact():
        loss = F.binary_cross_entropy(p, target)  # its gradient for a target is not defined
        with pytest.raises(engine.UnsupportedOp) as caught:
            loss.backward()
    assert caught.value.name == "logit"
    assert caught.value.shapes[0] == "float32[3]"
    assert caught.value.where.startswith(line(-3))
    assert "in the backward pass (BinaryCrossEntropyBackward0" in caught.value.where
    assert "detect_anomaly" in str(caught.value)


@pytest.mark.filterwarnings("ignore:Error detected in BinaryCrossEntropy")
def test_backward_pass_under_anomaly_detection_names_the_forward_line() -> None:
    p, target = (torch.full((3,), 0.5).requires_grad_() for _ in range(2))
    with exact(), torch.autograd.set_detect_anomaly(True):
        loss = F.binary_cross_entropy(p, target)
        with pytest.raises(engine.UnsupportedOp) as caught:
            loss.backward()
    assert caught.value.where.startswith(line(-1))
    assert f"backward pass of the call at {line(-4)} (" in caught.value.where


def test_own_backward_formula_names_its_line() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(_: Any, grad: Tensor) -> Tensor:
            return grad.cosh()

    with exact(), pytest.raises(engine.UnsupportedOp) as caught:
        Wrong.apply(torch.ones(2, requires_grad=True)).sum().backward()
    assert caught.value.where.startswith(line(-4))
    assert "WrongBackward" in caught.value.where


def test_recomputed_layer_names_its_line() -> None:
    def layer(x: Tensor) -> Tensor:
        y = x.cosh()
        return y * y  # keeps y, so that the second run computes it again

    x = torch.ones(2, requires_grad=True)
    loss = checkpoint(layer, x, use_reentrant=False).sum()  # the first run is outside
    with exact(), pytest.raises(engine.UnsupportedOp) as caught:
        loss.backward()
    assert caught.value.name == "cosh"
    assert caught.value.where.startswith(line(-8))
    assert "in the backward pass" in caught.value.where


def test_installed_model_names_its_line_and_the_callers() -> None:
    config = hf.Llama4TextConfig(
        vocab_size=48, hidden_size=32, intermediate_size=32, intermediate_size_mlp=32,
        num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        num_local_experts=2, pad_token_id=0,
    )  # fmt: skip
    model = hf.Llama4ForCausalLM(config)
    with exact(), pytest.raises(engine.UnsupportedOp, match="complex numbers") as caught:
        model(input_ids=tokens())
    assert caught.value.name == "polar"
    model_line, _, own = caught.value.where.partition(" (called from ")
    assert "modeling_llama4.py:" in model_line
    assert own == f"{line(-4)})"


ERRORS: dict[str, Callable[[], engine.ExactError]] = {
    "call": lambda: engine.UnsupportedOp("cosh", "default", ["float32[2]"], "a.py:1"),
    "type": lambda: engine.UnsupportedDtype("torch.float16", "mm", "a.py:1"),
    "autocast": lambda: engine.AutocastActive("a.py:1"),
    "devices": lambda: engine.MixedDevices("mm", ["cpu", "cuda:0"], "a.py:1"),
    "compiled": lambda: engine.CompiledCode("a.py:1"),
    "not finite": lambda: engine.NonFinite("gemm", "an operand holds a NaN", where="a.py:1"),
    "gradient": lambda: engine.GradientNotRecorded("exp"),
    "flushed": engine.FlushToZero,
    "drawing": engine.RandomnessInUse,
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_says_what_why_and_what_next(name: str) -> None:
    error = ERRORS[name]()
    assert str(error) == f"{error.what}. {error.why} {error.fix}"
    for sentence in (error.why, error.fix):
        assert sentence[0].isupper()
        assert sentence.endswith(".")


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
