"""The whole engine on a GPU gives the CPU's bits; the same tests run on the CPU to prove the tests.

`python -m pytest -m gpu tests/exact` runs what needs a CUDA device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from protocol import exact as engine
from protocol.exact import Draw, Profile, elementwise, exact, known_answers, tensor_root
from protocol.exact import functions as exact_functions
from protocol.exact.route_choice import choose_route, routes
from tests.exact.test_families import ROOTS
from tests.support.devices import DEVICES, WAYS, device_named, route_of
from tests.support.exact_families import FAMILIES, root, signal
from tests.support.exact_tensors import EDGES, MINUS_ZERO, NAN, from_bits, patterns, same_bits

devices = pytest.mark.parametrize("where", DEVICES)
PLAIN_CPU_WAYS = [way for way in WAYS if way not in [("cpu", "float64"), ("cpu", "int8")]]
"""Without those that the families' own test runs."""


# A step of every family ---------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("where", "name"), PLAIN_CPU_WAYS)
def test_step_has_the_recorded_root_on_the_device(where: str, name: str, family: str) -> None:
    device = device_named(where)
    route_of(device, name)
    assert root(family, name, device=str(device)) == ROOTS[family]


@devices
def test_step_has_the_recorded_root_by_the_fastest_route(where: str) -> None:
    assert root("llama", device=str(device_named(where))) == ROOTS["llama"]


@pytest.mark.gpu
def test_every_route_of_this_gpu_passes_its_test() -> None:
    device = device_named("cuda")
    for b in (14, 16):
        assert set(routes(Profile(b=b), device)) == {"triton", "int8", "bf16-digits", "float64"}
        for name in routes(Profile(b=b), device):
            route_of(device, name, Profile(b=b))


@pytest.fixture
def short_formats() -> Iterator[None]:
    matmul, before = torch.backends.cuda.matmul, torch.get_float32_matmul_precision()
    reduced = matmul.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("medium")
    matmul.allow_bf16_reduced_precision_reduction = True
    yield
    torch.set_float32_matmul_precision(before)
    matmul.allow_bf16_reduced_precision_reduction = reduced


@pytest.mark.parametrize(("where", "name"), PLAIN_CPU_WAYS)
def test_short_multiplication_formats_change_nothing(
    where: str, name: str, short_formats: None
) -> None:
    device = device_named(where)
    assert root("gpt2", name, device=str(device)) == ROOTS["gpt2"]


@devices
def test_deterministic_algorithms_change_nothing(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch asks for it
    torch.use_deterministic_algorithms(True)
    try:
        assert root("gru", device=str(device_named(where))) == ROOTS["gru"]
    finally:
        torch.use_deterministic_algorithms(False)


# Primitives ---------------------------------------------------------------------------------------

X, Y = (from_bits([*EDGES, *patterns(4000, seed)])[:4000].reshape(40, 100) for seed in (1, 2))
INDEX = torch.arange(40) * 7919 % 13

PRIMITIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": engine.add,
    "sub": engine.sub,
    "mul": engine.mul,
    "div": engine.div,
    "div by a host scalar": lambda x, _: engine.div(x, 3.0),
    "div by a host tensor": lambda x, _: engine.div(x, torch.tensor(3.0)),
    "host tensor divided": lambda x, _: engine.div(torch.tensor(3.0), x),
    "sqrt": lambda x, _: engine.sqrt(x.abs()),
    "max2": engine.max2,
    "min2": engine.min2,
    "clamp": lambda x, _: engine.clamp(x, -0.75, 3.0),
    "sum of all": lambda x, _: engine.sum_(x),
    "sum of rows": lambda x, _: engine.sum_(x, 1),
    "sum of columns": lambda x, _: engine.sum_(x, 0),
    "sum of a long run": lambda x, _: engine.sum_(x.repeat(60, 1).T.reshape(-1)),
    "mean": lambda x, _: engine.mean(x, 1),
    "amax": lambda x, _: engine.amax(x, 1),
    "amin": lambda x, _: engine.amin(x, 0),
    "softmax": lambda x, _: engine.softmax(x.clamp(-90.0, 90.0), 1),
    "log_softmax": lambda x, _: engine.log_softmax(x.clamp(-90.0, 90.0), 1),
    "gelu": lambda x, _: engine.gelu(x.clamp(-9.0, 9.0)),
    "silu": lambda x, _: engine.silu(x.clamp(-90.0, 90.0)),
    "scattered sums": lambda x, _: engine.index_sum(INDEX.to(x.device), x, 13),
    "gemm": lambda x, y: engine.gemm(x, y.mT),
}


@devices
@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitive_equals_the_cpus(where: str, name: str) -> None:
    device = device_named(where)
    got = PRIMITIVES[name](X.to(device), Y.to(device))
    assert got.device == device
    assert same_bits(got.cpu(), PRIMITIVES[name](X, Y))


@devices
@pytest.mark.parametrize("name", known_answers.FUNCTION_ANSWERS)
def test_function_is_correctly_rounded(where: str, name: str) -> None:
    x = known_answers.function_operand(name).to(device_named(where))
    got = getattr(exact_functions, name)(x)
    assert tensor_root(got).hex() == known_answers.FUNCTION_ANSWERS[name]


@devices
def test_random_bits_are_the_cpus(where: str) -> None:
    draw = Draw(key=0xFEDC_BA98_7654_3210, stream=3, step=0xFFFF_FFFF, operation=7)
    got = engine.random_bits(draw, (5, 9000), device_named(where))
    assert torch.equal(got.cpu(), engine.random_bits(draw, (5, 9000)))


@devices
@pytest.mark.parametrize("count", [8, 100, 2000, 5000, 100_000])
def test_equal_values_keep_their_order(where: str, count: int) -> None:
    device = device_named(where)
    zeros = from_bits([0, MINUS_ZERO]).repeat(count // 2).to(device)
    for descending in (False, True):
        assert torch.equal(engine.sort(zeros, -1, descending)[1].cpu(), torch.arange(count))
    assert int(engine.argmax(zeros)) == 0
    few = (torch.arange(count, device=device) * 7919 % 5).float()
    values, order = engine.topk(few, count)
    want = torch.sort(few.cpu(), descending=True, stable=True)
    assert torch.equal(order.cpu(), want.indices)
    assert torch.equal(values.cpu(), want.values)


@devices
def test_experts_are_counted_as_floats_and_as_integers(where: str) -> None:
    # transformers counts tokens per expert as floats on CPUs and as int32 on GPUs.
    experts = torch.tensor([0, 1, 1, 3, 2, 3, 3], dtype=torch.int32, device=device_named(where))
    with exact():
        for chosen in (experts, experts.float()):
            assert torch.histc(chosen, bins=4, min=0, max=3).tolist() == [1, 2, 1, 3]


@devices
def test_subnormal_numbers_are_kept(where: str) -> None:
    known_answers.require_subnormals(device_named(where))


# Programs -----------------------------------------------------------------------------------------


@devices
def test_tensors_may_move_inside_the_engine(where: str) -> None:
    device = device_named(where)
    x = signal(4, 6)
    with exact():
        moved = x.to(device)
        y = (moved @ moved.T / torch.tensor(3.0)).cpu() + 1
        want = x @ x.T / 3.0 + 1
    assert same_bits(y, want)


@devices
def test_gradients_accumulate_as_on_the_cpu(where: str) -> None:
    device = device_named(where)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))
    with torch.no_grad():
        for seed, p in enumerate(net.parameters()):
            p.copy_(signal(*p.shape, seed=seed))
    moved = copy.deepcopy(net).to(device)
    for module in (net, moved):
        place = next(module.parameters()).device
        for step in range(3):
            with exact(seed=9, step=step):
                loss = module(signal(5, 6, seed=step).to(place)).square().mean()
                (loss / 3.0).backward()
    for ours, theirs in zip(moved.parameters(), net.parameters(), strict=True):
        assert same_bits(ours.grad.cpu(), theirs.grad)


@devices
def test_host_scalar_is_a_divisor_on_every_device(where: str) -> None:
    device = device_named(where)
    x = from_bits(patterns(4096, 3, (100, 150)))
    with exact():
        for divisor in (3.0, torch.tensor(3.0), torch.tensor(3)):
            assert same_bits((x.to(device) / divisor).cpu(), x / torch.tensor(3.0))


def test_host_tensor_goes_to_the_device_before_it_divides(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    divide = torch.div

    def watched(x: Tensor, y: Tensor) -> Tensor:
        seen.extend((x.device.type, y.device.type))
        return divide(x, y)

    monkeypatch.setattr(torch, "div", watched)
    elsewhere = torch.ones(3, device="meta")
    elementwise.div(elsewhere, torch.tensor(3.0))
    elementwise.div(torch.tensor(3.0), elsewhere)
    assert seen == ["meta"] * 4


# What goes wrong ----------------------------------------------------------------------------------


@devices
@pytest.mark.parametrize("bits", [NAN, 0x7F800000, 0xFF800000])
def test_operand_that_is_not_finite_is_refused(where: str, bits: int) -> None:
    device = device_named(where)
    bad = torch.ones(40, 40)
    bad[-1, -1] = from_bits([bits])[0]
    bad = bad.to(device)
    calls = (lambda: bad @ bad, lambda: bad.sum(), lambda: bad.norm())
    with exact():
        for call in calls:
            with pytest.raises(engine.NonFinite):
                call()


@devices
def test_other_types_are_refused(where: str) -> None:
    model = nn.Linear(4, 4, device=device_named(where)).to(torch.bfloat16)
    x = torch.ones(2, 4, dtype=torch.bfloat16, device=device_named(where))
    with exact(), pytest.raises(engine.UnsupportedDtype, match="float32"):
        model(x)


@pytest.mark.gpu
def test_model_and_batch_on_two_devices_are_refused() -> None:
    device = device_named("cuda")
    model = nn.Linear(4, 4)
    with exact(), pytest.raises(engine.MixedDevices, match="one device") as caught:
        model(torch.ones(2, 4, device=device))
    assert caught.value.devices == ("cpu", str(device))


@pytest.mark.gpu
def test_device_without_memory_says_so_and_goes_on() -> None:
    device = device_named("cuda")
    huge = torch.ones(1, 1, device=device).expand(1 << 20, 1 << 20)
    for name in ("triton", "int8", "bf16-digits", "float64"):
        if choose_route(name, Profile(), device).name != name:
            continue
        with exact(route=name):
            with pytest.raises(torch.OutOfMemoryError):
                huge @ huge
            assert (
                torch.ones(20, 20, device=device) @ torch.ones(20, 20, device=device)
            ).sum() == 8000


@pytest.mark.gpu
def test_products_on_another_stream_are_the_same() -> None:
    device = device_named("cuda")
    a, b = signal(200, 300).to(device), signal(300, 100, seed=1).to(device)
    for name in ("triton", "int8", "bf16-digits", "float64"):
        route = choose_route(name, Profile(), device)
        want = route.gemm(a, b, Profile())
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            got = route.gemm(a, b, Profile())
        stream.synchronize()
        assert same_bits(got.cpu(), want.cpu())
