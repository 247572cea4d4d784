"""`hands sim`: the exchange simulator as a command.

Owns its flags, their grouping in the help, the ready line on stdout, the list of quirks and the exit code of a refused
start. May not judge an option: `SimConfig` does, all of them at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperOption

from hands.cli.output import ExitCode, JsonFlag, members, print_json, refuse_start, say, table

MARKET: Final = "The market"
ACCOUNT: Final = "The account and its fills"
HABITS: Final = "The venue's habits"
TIME: Final = "Time"
SERVER: Final = "The server"
_OTHERS: Final = "More"


class GroupedCommand(TyperCommand):
    """A command whose help shows its options in groups, in the order in which they were declared."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = parameter.rich_help_panel if isinstance(parameter, TyperOption) else None
                groups.setdefault(panel or _OTHERS, []).append(record)
        for name in sorted(groups, key=lambda name: name == _OTHERS):  # what is in no group comes last
            with formatter.section(name):
                formatter.write_dl(groups[name])


def sim(
    *,
    tape: Annotated[
        list[str] | None,
        typer.Option(help="synthetic, manual, load, or recorded files (repeatable).", rich_help_panel=MARKET),
    ] = None,
    more_tape: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH]...", help="More files of the tape.")
    ] = None,
    symbols: Annotated[
        str | None, typer.Option(help="What the made-up market trades: A,B/USD.", rich_help_panel=MARKET)
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The same seed makes the same market and fills.", rich_help_panel=MARKET)
    ] = 0,
    speed: Annotated[
        float, typer.Option(help="Divides the spacing of a tape's rows.", rich_help_panel=MARKET)
    ] = 1.0,
    regime: Annotated[
        str,
        typer.Option(help="calm, trend, chop, gap, crash, halt or mixed.", rich_help_panel=MARKET),
    ] = "calm",
    rate: Annotated[
        float | None, typer.Option(help="Made-up events per second and symbol.", rich_help_panel=MARKET)
    ] = None,
    correlation: Annotated[
        float, typer.Option(help="How much made-up prices move together.", rich_help_panel=MARKET)
    ] = 0.0,
    volume_curve: Annotated[
        bool, typer.Option("--volume-curve", help="Busy at the open and the close.", rich_help_panel=MARKET)
    ] = False,
    load_rate: Annotated[
        int, typer.Option(help="Messages a second of the tape `load`.", rich_help_panel=MARKET)
    ] = 200_000,
    load_frame: Annotated[
        int, typer.Option(help="Messages in each of its frames.", rich_help_panel=MARKET)
    ] = 50,
    cash: Annotated[str, typer.Option(help="Dollars in the account.", rich_help_panel=ACCOUNT)] = "100000",
    multiplier: Annotated[
        int, typer.Option(help="1 cash account, 2 margin, 4 intraday margin.", rich_help_panel=ACCOUNT)
    ] = 2,
    fills: Annotated[
        str, typer.Option(help="realistic: displayed size and partials; instant.", rich_help_panel=ACCOUNT)
    ] = "realistic",
    latency: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=MS[,...]",
            help="How slow the venue is: ack=5,fill=2,cancel=100,replace=50,settle=300.",
            rich_help_panel=HABITS,
        ),
    ] = None,
    quirks: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE[,...]", help="Unconfirmed habits of the venue.", rich_help_panel=HABITS
        ),
    ] = None,
    list_quirks: Annotated[
        bool,
        typer.Option("--list-quirks", help="Print every habit there is, and end.", rich_help_panel=HABITS),
    ] = False,
    plan: Annotated[
        str, typer.Option(help="Market data: plus, or basic (30 symbols, no SIP).", rich_help_panel=HABITS)
    ] = "plus",
    rate_limit: Annotated[
        int, typer.Option(help="Requests a minute before 429; 0 for none.", rich_help_panel=HABITS)
    ] = 0,
    session: Annotated[
        str, typer.Option(help="always: equities in session; calendar: the real one.", rich_help_panel=TIME)
    ] = "always",
    clock: Annotated[
        str, typer.Option(help="wall, or manual: moved by POST /sim/v1/clock.", rich_help_panel=TIME)
    ] = "wall",
    start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Where the clock begins (RFC 3339).", rich_help_panel=TIME),
    ] = None,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT on this machine; port 0 takes a free one.", rich_help_panel=SERVER)
    ] = "127.0.0.1:0",
    as_json: JsonFlag = False,
) -> None:
    """Serve an Alpaca-compatible exchange on one port: trading, streams, history, faults.

    Prints one line when ready, which carries its URL. Keys are sim / sim, or what SIM_KEY and SIM_SECRET say. Ends
    on SIGTERM or Ctrl-C.

    Example: hands sim --listen 127.0.0.1:8080 --tape synthetic --speed 10

    A test that never sleeps: hands sim --tape manual --clock manual --quirks stop_cancel_event=sent
    """
    if list_quirks:
        _list_quirks(as_json=as_json)
        return
    import uvloop

    from hands.sim.market.file_rows import FileError
    from hands.sim.server.app import serve
    from hands.sim.server.config import DEFAULT_SYMBOLS, ConfigError, SimConfig

    habits, wrong = _pairs("quirks", quirks or ())
    delays, also_wrong = _pairs("latency", latency or ())
    options: dict[str, Any] = {
        "tape": (*(tape or ()), *(more_tape or ())) or ("synthetic",),
        "symbols": DEFAULT_SYMBOLS if symbols is None else members(symbols),
        "seed": seed,
        "speed": speed,
        "regime": regime,
        "rate": rate,
        "correlation": correlation,
        "volume_curve": volume_curve,
        "load_rate": load_rate,
        "load_frame": load_frame,
        "cash": cash,
        "multiplier": multiplier,
        "fills": fills,
        "latency": {name: _number(text) for name, text in delays.items()},
        "quirks": {name.replace("-", "_"): value for name, value in habits.items()},
        "plan": plan,
        "rate_limit": rate_limit,
        "session": session,
        "clock": clock,
        "start": start,
        "listen": listen,
        "key": os.environ.get("SIM_KEY", "sim"),
        "secret": os.environ.get("SIM_SECRET", "sim"),
    }
    problems = wrong + also_wrong
    try:
        config = SimConfig.of(options)
        if not problems:
            uvloop.run(serve(config, _say_ready))
            return
    except ConfigError as error:
        problems += error.problems
    except FileError as error:
        problems.append(f"tape: {error}")
    except OSError as error:
        problems.append(f"listen {listen}: {error}")
    refuse_start(ExitCode.USAGE, problems, as_json=as_json)


def _say_ready(url: str) -> None:
    typer.echo(json.dumps({"event": "ready", "url": url}, separators=(",", ":")))


def _list_quirks(*, as_json: bool) -> None:
    from hands.sim.venue.quirks import catalogue

    entries = catalogue().values()
    if as_json:
        print_json(
            [
                {"name": e.name, "values": list(e.allowed), "default": e.allowed[0], "what": e.what}
                for e in entries
            ]
        )
        return
    rows = [(e.name, e.allowed[0], ", ".join(e.allowed[1:]), e.what) for e in entries]
    say("\n".join(table(("QUIRK", "DEFAULT", "ELSE", "WHAT IT DECIDES"), rows)))


def _pairs(option: str, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the pairs of "a=1,b=2" words, and what is wrong with the others."""
    pairs: dict[str, str] = {}
    wrong: list[str] = []
    for word in (member for text in words for member in members(text)):
        name, equals, value = word.partition("=")
        if equals and name.strip():
            pairs[name.strip()] = value.strip()
        else:
            wrong.append(f"{option} {word!r} is not NAME=VALUE")
    return pairs, wrong


def _number(text: str) -> float | str:
    """Return a number as such; what is none is left for whoever judges it."""
    try:
        return float(text)
    except ValueError:
        return text
