"""The result for people: one table, the waterfall, and what was left out and why.

Owns the terminal. May not compute: every number shown stands in the JSON under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import BUSY_MAX

_BAR = 28
_PLAIN = (
    "sim_feed",
    "indicators",
    "scale",
    "footprint",
    "ingest",
    "endurance",
    "flood",
    "verdict",
    "replay",
    "record",
)
_LATENCIES = ("p50_us", "p99_us", "p999_us", "max_us")


def show(console: Console, result: Mapping[str, Any], left_out: Sequence[str]) -> None:
    """Print everything that `result` holds."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average'][0]}; {machine['kernel']}\n"
        f"{machine['python']}; {versions}",
        style="dim",
        highlight=False,
    )
    busy = max(machine.get("busy_before", 0.0), machine.get("busy_by_others", 0.0))
    if busy > BUSY_MAX:
        warning = f"others used {busy:.0%} of the processors: latencies contain waiting for one"
        console.print(warning, style="yellow", highlight=False)
    if "intent_to_wire" in result:
        _show_latencies(console, result["intent_to_wire"])
        _show_waterfall(console, result["intent_to_wire"]["waterfall"])
    if "naked" in result:
        _show_naked(console, result["naked"])
    plain = {name: values for name, values in result.items() if name in _PLAIN}
    if plain:
        table = Table(box=None, pad_edge=False)
        table.add_column("measured")
        table.add_column("", justify="right")
        for name, values in plain.items():
            for key, value in values.items():
                if isinstance(value, Mapping):  # by how many of something: one row, the few first
                    table.add_row(
                        f"{name}.{key}", "  ".join(f"{n}: {each:,.1f}" for n, each in value.items())
                    )
                else:
                    table.add_row(
                        f"{name}.{key}", f"{value:,.2f}" if value >= 0.01 or not value else f"{value:.1e}"
                    )
        console.print(table)
    for line in left_out:
        console.print(f"left out: {line}", style="dim", highlight=False)


def _show_latencies(console: Console, found: Mapping[str, Any]) -> None:
    table = Table(
        title="intent file → first byte of the order, µs", title_justify="left", box=None, pad_edge=False
    )
    for heading in ("", "n", "p50", "p99", "p99.9", "max"):
        table.add_column(heading, justify="left" if not heading else "right")
    for title, prefix, n in (
        ("floor", "floor_", found["n"]),
        ("hands", "", found["n"]),
        ("hands, from the intended moment", "from_intended_", found["n"]),
        ("watchfiles tuned + aiohttp", "tuned_", found.get("tuned_n")),
        ("watchfiles + alpaca-py", "naive_", found.get("naive_n")),
    ):
        values = [found.get(prefix + name) for name in _LATENCIES]
        if values[0] is not None:
            cells = ["" if value is None else f"{value:,.1f}" for value in values]
            table.add_row(title, str(n), *cells, style="bold" if title == "hands" else None)
    steady = found.get("steady")
    if steady is not None:
        for title, prefix in (("floor", "floor_"), ("hands", "")):
            cells = [f"{steady[prefix + name]:,.1f}" for name in _LATENCIES]
            table.add_row(f"{title}, every {steady['interval_ms']:g} ms", str(steady["n"]), *cells)
    console.print(table)
    console.print(f"{found['ratio_p50']} x the floor at p50; target: under 1 000 µs", highlight=False)


def _show_naked(console: Console, found: Mapping[str, Any]) -> None:
    table = Table(title="time without a stop per trade, ms", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "n", "p50", "p90", "p99", "max"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, values in found.items():
        if isinstance(values, Mapping) and "n" in values:
            cells = [f"{values[quantile]:,.2f}" for quantile in ("p50_ms", "p90_ms", "p99_ms", "max_ms")]
            table.add_row(name.replace("_", " "), str(values["n"]), *cells)
    console.print(table)


def _show_waterfall(console: Console, stages: Sequence[Mapping[str, Any]]) -> None:
    """Print the stages as bars, each to the same scale."""
    table = Table(title="where the time goes, µs", title_justify="left", box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("p50", justify="right")
    table.add_column("p99", justify="right")
    table.add_column("")
    longest = max((stage["p50_us"] for stage in stages), default=1.0) or 1.0
    for stage in stages:
        bar = "█" * max(0, round(_BAR * stage["p50_us"] / longest))
        table.add_row(stage["stage"], f"{stage['p50_us']:,.1f}", f"{stage['p99_us']:,.1f}", bar)
    console.print(table)
