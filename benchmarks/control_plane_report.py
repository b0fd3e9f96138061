"""The figures of benchmarks/control_plane.py as tables, plots, and a judgement."""

from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.control_plane_coordinator import STEPS
from benchmarks.growth import Row, exponents, too_steep
from benchmarks.line_chart import Line, Panel, chart

Point = dict[str, Any]
AXES = ("operators", "jobs", "tasks")
LOOKS = ("worker decides", "verifier decides")
LEAST: Row = {
    **dict.fromkeys(STEPS, 0.05),
    **dict.fromkeys(LOOKS, 0.001),
    "requests": 100,
    "history": 20_000,
    "gas": 10**6,
}
"""Below these there is no law to fit: seconds of a round and of a look, requests, bytes, gas."""
NAME_OF_A_STATE = 100
"""Bytes that a round which is over may leave in memory, per job."""
STEADY = 0.3
"""Exponent of a tick's cost over the rounds before it; none is meant, a busy machine adds some."""
BLOCK_GAS = 36_000_000
"""Of one block of Ethereum in 2025."""


def costs(point: Point) -> Row:
    """What is fitted, by name."""
    return {
        **point["seconds"],
        **point["looks"],
        "requests": sum(point["requests"].values()),
        "history": point["history"],
        "gas": sum(point["gas"].values()),
    }


def axis(points: Sequence[Point], name: str) -> list[Point]:
    """The points that differ in nothing else; those of the axis that has most of them."""
    groups: dict[tuple[int, ...], list[Point]] = {}
    for point in points:
        rest = tuple(point[other] for other in AXES if other != name)
        groups.setdefault(rest, []).append(point)
    return sorted(max(groups.values(), key=len), key=lambda point: int(point[name]))


def fits(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Exponents of every cost, by axis."""
    found = {}
    for name in AXES:
        along = axis(points, name)
        if len(along) > 1:
            found[name] = exponents([p[name] for p in along], [costs(p) for p in along], LEAST)
    return found


def faults(found: Point) -> list[str]:
    """One line for whatever grows faster than it may."""
    lines = [
        f"{cost} grows with the {name} to the power of {value:.2f}"
        for name, values in fits(found["points"]).items()
        for cost, value in too_steep(values).items()
    ]
    rounds = found["history"]["rounds"]
    steady = exponents([1 + r["round"] for r in rounds], rounds, {"seconds": 0.01, "requests": 1})
    lines += [
        f"{cost} of a tick grow with the rounds before it to the power of {value:.2f}"
        for cost, value in too_steep(steady, STEADY).items()
    ]
    left = left_by_a_round(found)
    if left > NAME_OF_A_STATE:
        lines.append(f"a round that is over leaves {left:.0f} bytes in memory")
    return lines


def left_by_a_round(found: Point) -> float:
    """Bytes by which history and openings grow, per job and round, once the first are forgotten."""
    rounds = found["history"]["rounds"]
    first, last = rounds[min(3, len(rounds) - 2)], rounds[-1]
    grown: float = last["history"] - first["history"]
    return grown / (last["round"] - first["round"]) / float(found["history"]["jobs"])


def tables(found: Point) -> Iterator[str]:
    """Costs by size, gas by function, exponents, and rounds one after the other; as Markdown."""
    points = sorted(found["points"], key=lambda p: [p[name] for name in AXES])
    yield _markdown([*AXES, *STEPS, "per task", *LOOKS], [_times(point) for point in points])
    sizes = ("requests", "history, kB", "memory, MB", "gas per task", "blocks of gas")
    yield _markdown([*AXES, *sizes], [_sizes(point) for point in points])
    largest = max(points, key=lambda p: p["jobs"] * p["tasks"])
    spent = sorted(largest["gas"].items(), key=lambda kv: -int(kv[1]))
    tasks = largest["jobs"] * largest["tasks"] * largest["rounds"]
    yield _markdown(["function", "gas per task"], [[n, f"{g / tasks:,.0f}"] for n, g in spent])
    laws = fits(points)
    yield _markdown(
        ["exponent over", *LEAST],
        [[name, *(_short(values[cost]) for cost in LEAST)] for name, values in laws.items()],
    )
    rounds = found["history"]["rounds"]
    shown = [r for r in rounds if (r["round"] + 1) % max(len(rounds) // 8, 1) == 0]
    yield _markdown(
        ["round", "ms per tick", "requests", "history, kB", "memory, MB", "on disk, MB"],
        [
            [
                str(r["round"] + 1),
                f"{1000 * r['seconds']:.0f}",
                f"{r['requests']:.1f}",
                f"{r['history'] / 1000:.1f}",
                f"{r['resident'] / 1e6:.0f}",
                f"{r['database'] / 1e6:.1f}",
            ]
            for r in shown
        ],
    )


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no negative nothing


def _times(point: Point) -> list[str]:
    """Milliseconds: of a tick by step, of all ticks by task, of one operator's look."""
    seconds, tasks = point["seconds"], point["jobs"] * point["tasks"] * point["rounds"]
    return [
        *(f"{point[name]:,}" for name in AXES),
        *(f"{1000 * seconds[step] / point['ticks']:.1f}" for step in STEPS),
        f"{1000 * sum(seconds.values()) / tasks:.1f}",
        *(f"{1000 * point['looks'][look]:.1f}" for look in LOOKS),
    ]


def _sizes(point: Point) -> list[str]:
    tasks = point["jobs"] * point["tasks"] * point["rounds"]
    gas = sum(point["gas"].values())
    return [
        *(f"{point[name]:,}" for name in AXES),
        f"{sum(point['requests'].values()) / point['ticks']:.0f}",
        f"{point['history'] / 1000:,.0f}",
        f"{point['resident'] / 1e6:.0f}",
        f"{gas / tasks:,.0f}",
        f"{gas / BLOCK_GAS:.0f}",
    ]


def drawings(found: Point) -> dict[str, str]:
    """The plots, by name."""
    along = axis(found["points"], "jobs")
    jobs = [p["jobs"] for p in along]
    tasks = [p["jobs"] * p["tasks"] * p["rounds"] for p in along]
    steps = [
        Line(step, jobs, [1000 * p["seconds"][step] / p["ticks"] for p in along], number)
        for number, step in enumerate(STEPS)
    ]
    looks = [
        Line(look, jobs, [1000 * p["looks"][look] for p in along], number)
        for number, look in enumerate(LOOKS)
    ]
    gas = [sum(p["gas"].values()) / n / 1000 for p, n in zip(along, tasks, strict=True)]
    by_jobs = chart(
        [
            Panel("a coordinator's tick, ms of processor by step", steps),
            Panel("an operator's decision, ms (black: worker, grey: verifier)", looks),
            Panel(
                "a coordinator's history, kB", [_line(jobs, [p["history"] / 1e3 for p in along])]
            ),
            Panel("gas per task, thousands", [_line(jobs, gas)]),
        ],
        f"jobs of {along[0]['tasks']} tasks, {along[0]['operators']} operators",
    )
    rounds = found["history"]["rounds"]
    numbers = [1 + r["round"] for r in rounds]
    by_rounds = chart(
        [
            Panel(
                "a coordinator's tick, ms of processor", [_history(numbers, rounds, "seconds", 1e3)]
            ),
            Panel("its history and openings, kB", [_history(numbers, rounds, "history", 1e-3)]),
            Panel("its process, MB", [_history(numbers, rounds, "resident", 1e-6)]),
            Panel("its folder on disk, MB", [_history(numbers, rounds, "database", 1e-6)]),
        ],
        "round",
    )
    return {"jobs": by_jobs, "rounds": by_rounds}


def _line(xs: Sequence[float], ys: Sequence[float]) -> Line:
    return Line("", xs, ys, 0)


def _history(numbers: Sequence[int], rounds: Sequence[Point], name: str, unit: float) -> Line:
    return _line(numbers, [r[name] * unit for r in rounds])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
