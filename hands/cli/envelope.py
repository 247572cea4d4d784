"""`hands envelope`: what would be admissible of a symbol now, and what blocks it.

Owns how the daemon's answer is shown (`hands.runtime.envelope` makes it). May not compute any of it.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, ask, state_folder

Document = dict[str, Any]


def envelope(
    symbol: Annotated[str, typer.Argument(help="AAPL, SOL/USD")],
    *,
    agent: Annotated[str, typer.Option(help="Whose limits and counters hold.")] = "default",
    trigger: Annotated[
        str | None, typer.Option(metavar="P", help="At this trigger price [the quote: LONG ask, SHORT bid].")
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(metavar="P", help="Targets and sizes for this stop [both ends of the stops]."),
    ] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Show what the guardian would let pass now: directions, prices, the largest size and the cap that binds it.

    Exit 0 where at least one direction is open, 1 where everything is blocked, 3 where no daemon answers.

    Example: hands envelope AAPL --stop 148
    """
    from hands.core.units import NumberError, nano

    for flag, price in (("--trigger", trigger), ("--stop", stop)):
        try:
            if price is not None and nano(price) <= 0:
                fail(ExitCode.USAGE, f"{flag} must be positive, not {price}", as_json=as_json)
        except NumberError as error:
            fail(ExitCode.USAGE, f"{flag}: {error}", as_json=as_json)
    request = {"do": "envelope", "symbol": symbol, "agent": agent, "trigger": trigger, "stop": stop}
    found: Document = ask(state_folder(config, state, as_json=as_json), request, as_json=as_json)["envelope"]
    if as_json:
        print_json(found)
    else:
        say("\n".join(envelope_lines(found)))
    is_open = any(way["admissible"] for way in found["directions"].values())
    raise typer.Exit(int(ExitCode.FINE if is_open else ExitCode.NEGATIVE))


def envelope_lines(found: Document) -> list[str]:
    """Return an envelope for people."""
    market, account, document = found["market"], found["account"], found["document"]
    quote = "no two-sided quote"
    if market["bid"] is not None:
        quote = f"{market['bid']} / {market['ask']}, {market['age_ms']:g} ms old"
    equity = "account unknown"
    if account["equity"] is not None:
        equity = f"equity {account['equity']} USD, {account['age_ms'] / 1000:.1f} s old"
    document_bounds = (
        f"  ttl_seconds up to {document['ttl_seconds_max']}, arm_seconds up to {document['arm_seconds_max']},"
        f" confidence from {document['confidence_min']}, reward to risk from {document['reward_risk_min']};"
        f" {document['faults']} of {document['faults_latch']} faults in a row"
    )
    lines = [
        f"{found['symbol']} for agent {found['agent']}: {quote}; {equity}; trading is {found['state']}",
        document_bounds,
    ]
    rows = [
        [name, row["observed"], row["limit"]]
        for name, row in found["counters"].items()
        if row["limit"] is not None
    ]
    lines += ["", *(f"  {line}" for line in table(("budget", "now", "limit"), rows))]
    for name, way in found["directions"].items():
        lines += ["", *_way_lines(name, way)]
    return lines


def _way_lines(name: str, way: Document) -> list[str]:
    lines = [f"{name}: {'open' if way['admissible'] else 'blocked'}"]
    for block in way["blocks"]:
        when = f" (from {block['retry_at']})" if block["retry_at"] else ""
        lines.append(f"  {block['code']}: {block['message']}{when}")
    if "at" not in way:
        return lines
    lines.append(
        f"  trigger_price {_span(way['trigger_price'])}; as a touch {_span(way['touch_trigger_price'])}"
    )
    at = way["at"]
    lines.append(
        f"  at trigger {at['trigger_price']} (limit {at['limit_price']}): stop_loss {_span(way['stop_loss'])}"
    )
    for row in way["with_stop"]:
        size = row["size"]
        lines.append(f"    stop {row['stop_loss']}: take_profit {_span(row['take_profit'])}")
        if size is not None:
            lines.append(
                f"      up to {size['qty']}, bound by {size['binding']}: {size['notional_usd']} USD,"
                f" {size['risk_usd']} USD at risk"
            )
    return lines


def _span(span: Document) -> str:
    """Return "148.00 (STOP_TOO_FAR) to 149.97 (BRACKET_GEOMETRY)"; what is in brackets answers beyond it."""
    low, high = span["min"], span["max"]
    if span["empty"]:
        return (
            f"none: {low['beyond']} wants at least {low['price']}, {high['beyond']} at most {high['price']}"
        )
    parts = []
    if low is not None:
        parts.append(f"from {low['price']} ({low['beyond']})")
    if high is not None:
        parts.append(f"to {high['price']} ({high['beyond']})")
    return " ".join(parts) or "any"
