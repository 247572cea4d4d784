"""`hands watch`: the live view of symbols.

Owns the rhythm, what is remembered between two ticks (the closes, which the daemon tells once), where it is shown and
how it ends. May not open a connection to anybody but the daemon. The one idea: a tick is one answer of the daemon,
true at one place in its order of inputs; screen, table and JSON are three ways to print the same document.
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Protocol

import typer

from hands.cli.output import ExitCode, fail, print_json, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.runtime.control import NoDaemon, call

EVERY_MIN_S, EVERY_MAX_S = 0.1, 3600.0
FORGET_AFTER_S = 60.0
"""Closes are asked for anew so often: the daemon may have repaired a gap in those it has told."""

CLOSES_KEPT = 120
AGAIN_S = 0.5

Document = dict[str, Any]


class NotAnswered(Exception):  # noqa: N818  (says what is the case)
    """The daemon said no; `usage` is true where what was asked for cannot be meant."""

    def __init__(self, message: str, *, usage: bool) -> None:
        super().__init__(message)
        self.usage = usage


class Display(Protocol):
    """Where ticks go. `pause` waits until `until_s` of the monotonic clock."""

    def show(self, document: Document) -> None: ...
    def lost(self, why: str) -> None: ...
    def pause(self, until_s: float) -> None: ...


def watch(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(metavar="SYMBOL", help="AAPL SOL/USD; without any: all there are."),
    ] = None,
    *,
    every: Annotated[str, typer.Option(help="Time between two ticks: 0.5s, 250ms, 1m.")] = "0.5s",
    interval: Annotated[
        str | None, typer.Option(help="The bars shown: 60, 5m [the first of intervals_s in hands.toml].")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many ticks.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Without a daemon, wait until one is there.")] = False,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on a line per tick.")] = False,
) -> None:
    """Watch symbols live, as the daemon sees them: quotes, indicators, the last closes, and our business in them.

    BPS is the spread in hundredths of a per cent of the mid, AGE the quote's; both turn yellow where an entry would be
    refused for it. VWAP is the session's. RSI and what follows are taken at the close of bars, those named "tick" at
    every trade. The blocks are the last closes with the bar in progress at the right end, between their lowest and
    highest; under them the RSI, between 0 and 100. A dash is a number that is not known, or not yet.

    All numbers of a tick are of one moment: seq counts what the daemon has decided, rows its market's trades and quotes.
    Ctrl-C ends it. Exit 2 where a symbol or interval is not watched, 3 without a daemon.

    Example: hands watch AAPL SOL/USD --every 1s

    Example: hands watch AAPL --json --count 1
    """
    problems: list[str] = []
    every_s = _seconds(every, "--every", EVERY_MIN_S, EVERY_MAX_S, problems)
    interval_s = None if interval is None else _seconds(interval, "--interval", 1.0, 86_400.0, problems)
    if interval_s is not None and interval_s != int(interval_s):
        problems.append(f"--interval {interval}: bars are of whole seconds")
    if problems:
        fail(ExitCode.USAGE, problems, as_json=as_json)
    wanted = list(dict.fromkeys(symbol.upper() for symbol in symbols or ()))
    tap = Tap(
        state_folder(config, state, as_json=as_json), wanted, None if interval_s is None else int(interval_s)
    )
    try:
        with ExitStack() as stack:
            stack.enter_context(_ended_by(signal.SIGTERM))
            display = _display(stack, as_json=as_json)
            _run(tap, display, every_s, count, wait=wait)
    except NoDaemon as error:
        fail(ExitCode.UNSAFE, str(error), as_json=as_json)
    except NotAnswered as error:
        fail(ExitCode.USAGE if error.usage else ExitCode.NEGATIVE, str(error), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None


_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|)\Z")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(text: str, flag: str, least: float, most: float, problems: list[str]) -> float:
    """Return the seconds of "0.5s", "250ms", "5m" or "60"; what is wrong with it goes to `problems`."""
    match = _DURATION.match(text)
    seconds = float(match.group(1)) * _UNITS[match.group(2)] if match else None
    if seconds is None:
        problems.append(f"{flag} {text}: not a time such as 0.5s, 250ms or 5m")
    elif not least <= seconds <= most:
        problems.append(f"{flag} {text}: from {least:g} s to {most:g} s")
    else:
        return seconds
    return least


@contextmanager
def _ended_by(number: signal.Signals) -> Iterator[None]:
    """Let a signal end the block as Ctrl-C does, so that the terminal is left as it was found."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        yield
    finally:
        signal.signal(number, before)


def _display(stack: ExitStack, *, as_json: bool) -> Display:
    if as_json:
        return Lines(print_json)
    from hands.cli.watch_screen import Screen, is_screen, table_printer

    if is_screen():
        return stack.enter_context(Screen())
    return Lines(table_printer())


def _run(tap: Tap, display: Display, every_s: float, count: int | None, *, wait: bool) -> None:
    """Show a tick every `every_s`, `count` times; with `wait` a daemon that is not there is waited for."""
    due_s = time.monotonic()
    while count is None or count > 0:
        try:
            document = tap.look()
        except NoDaemon as error:
            if not wait:
                raise
            tap.forget()
            display.lost(str(error))
            display.pause(time.monotonic() + AGAIN_S)
            due_s = time.monotonic()
            continue
        display.show(document)
        if count is not None:
            count -= 1
        if count != 0:
            due_s = max(due_s + every_s, time.monotonic())
            display.pause(due_s)


class Tap:
    """Asks the daemon for ticks, and keeps the closes that it has told."""

    def __init__(self, state_dir: Path, symbols: list[str], interval_s: int | None) -> None:
        self._state_dir = state_dir
        self._request = {"do": "watch", "symbols": symbols, "interval_s": interval_s}
        self._bars: dict[str, list[tuple[int, str]]] = {}
        self._forget_s = 0.0

    def forget(self) -> None:
        """Ask for all closes anew the next time."""
        self._bars.clear()

    def look(self) -> Document:
        """Return the tick of now: the daemon's answer, with the `closes` of each symbol, oldest first.

        Raises:
            NoDaemon: nobody answers.
            NotAnswered: the daemon refuses.
        """
        if time.monotonic() >= self._forget_s:
            self._forget_s = time.monotonic() + FORGET_AFTER_S
            self.forget()
        document = self._ask()
        answers = 1
        while not self._take_bars(document["symbols"]) and answers <= len(document["symbols"]):
            document = self._ask()
            answers += 1
        for row in document["symbols"]:
            row.pop("bars", None)
            row["closes"] = [close for _, close in self._bars.get(row["symbol"], ())]
        return document

    def _ask(self) -> Document:
        have = {symbol: bars[-1][0] for symbol, bars in self._bars.items() if bars}
        answer = call(self._state_dir, self._request | {"have": have})
        if not answer.get("ok"):
            raise NotAnswered(str(answer.get("error")), usage=bool(answer.get("usage")))
        document: Document = answer["watch"]
        return document

    def _take_bars(self, symbols: list[Document]) -> bool:
        """Keep the bars that are news; False if there are more to be asked for."""
        for row in symbols:
            kept, news = self._bars.get(row["symbol"], []), row["bars"] or []
            if kept and news and news[0][0] <= kept[-1][0]:
                kept = []
            self._bars[row["symbol"]] = [*kept, *news][-CLOSES_KEPT:]
        return all(row["bars"] is not None for row in symbols)


class Lines:
    """Prints every tick below the last, for a file, a pipe or a terminal that can do no more."""

    def __init__(self, print_tick: Callable[[Document], None]) -> None:
        self._print = print_tick
        self._lost = ""

    def show(self, document: Document) -> None:
        self._lost = ""
        self._print(document)
        sys.stdout.flush()

    def lost(self, why: str) -> None:
        if why != self._lost:
            say(f"hands: {why}; waiting", err=True)
        self._lost = why

    def pause(self, until_s: float) -> None:
        time.sleep(max(0.0, until_s - time.monotonic()))
