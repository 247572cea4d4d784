"""`hands watch` as a command: a daemon's control socket on one side, a pipe or a terminal on the other."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from hands.cli.watch import Tap
from hands.core.market import RowFlag, RowKind, new_rows
from hands.core.state import State
from hands.core.units import NS_PER_S
from hands.runtime.watching import BARS_MAX, watch
from tests.core.world import NOW, world

MINUTE_NS = 60 * NS_PER_S
ALT_SCREEN, MAIN_SCREEN, SHOW_CURSOR, ERASE = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[2J"
WITHIN_S = 20.0


class Engine:
    """A real state that answers `watch`; before each answer AAPL trades in the next minute, and `seq` is one more."""

    def __init__(self) -> None:
        self.state: State = world()
        self.asked: list[dict[str, Any]] = []
        self.minute = int(NOW) // MINUTE_NS + 1

    def trade(self, price: float, symbol: str = "AAPL") -> None:
        """Trade a symbol once, in the next minute."""
        self.minute += 1
        rows = new_rows(1)
        rows["sym"], rows["kind"] = self.state.market.index[symbol], RowKind.TRADE
        rows["flags"], rows["price"], rows["size"] = RowFlag.ELIGIBLE, price, 10
        rows["venue_ns"] = rows["recv_ns"] = self.minute * MINUTE_NS
        self.state.market.consume(rows, 0, 1)

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        self.trade(150 + len(self.asked) / 100)
        return watch(self.state, request, int(NOW), seq=len(self.asked))


def documents(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_whole_document_per_tick(hands, serve, state_dir: Path) -> None:
    engine = Engine()
    with serve(engine.handle):
        ticks = ("watch", "aapl", "SOL/USD", "AAPL", "--every", "100ms", "--count", "3", "--state", state_dir)
        result = hands(*ticks, "--json")
    assert result.exit_code == 0
    found = documents(result.stdout)
    assert [tick["seq"] for tick in found] == [1, 2, 3]
    assert [[row["symbol"] for row in tick["symbols"]] for tick in found] == [["AAPL", "SOL/USD"]] * 3
    assert [tick["symbols"][0]["closes"] for tick in found] == [[], ["150.01"], ["150.01", "150.02"]]
    assert [tick["symbols"][0]["bar"]["close"] for tick in found] == ["150.01", "150.02", "150.03"]
    assert all("bars" not in row for tick in found for row in tick["symbols"])
    assert [request["have"].get("AAPL") for request in engine.asked] == [
        None, None, (engine.minute - 2) * MINUTE_NS,
    ]  # fmt: skip


def test_a_table_moves_no_cursor(hands, serve, state_dir: Path) -> None:
    with serve(Engine().handle):
        result = hands("watch", "AAPL", "--every", "0.1", "--count", "2", "--state", state_dir)
    assert result.exit_code == 0
    assert result.stdout.count("SYMBOL") == result.stdout.count("ACTIVE on sim") == 2
    assert "\x1b" not in result.stdout
    assert "\r" not in result.stdout


def test_without_symbols_all_are_watched(hands, serve, state_dir: Path) -> None:
    engine = Engine()
    with serve(engine.handle):
        result = hands("watch", "--count", "1", "--json", "--state", state_dir)
    assert [row["symbol"] for row in result.document["symbols"]] == list(engine.state.market.symbols)


def test_another_interval_has_other_bars(hands, serve, state_dir: Path) -> None:
    with serve(Engine().handle):
        ticks = ("watch", "AAPL", "--interval", "5m", "--count", "1", "--json", "--state", state_dir)
        assert hands(*ticks).document["interval_s"] == 300


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("APPL",), "not watched: APPL; the daemon watches AAPL, "),
        (("AAPL", "--interval", "7"), "no bars of 7 s; the daemon keeps those of 60, 300 s"),
        (("AAPL", "--interval", "x"), "--interval x: not a time"),
        (("AAPL", "--interval", "1.5"), "whole seconds"),
        (("AAPL", "--every", "0"), "--every 0: from 0.1 s to 3600 s"),
        (("AAPL", "--every", "2h"), "--every 2h: from"),
        (("AAPL", "--every", "-1"), "--every -1: not a time"),
        (("AAPL", "--every", "0.5 s"), "not a time"),
        (("AAPL", "--count", "0"), "--count"),
    ],
)
def test_what_cannot_be_meant_exits_2_and_says_what_can(
    hands, serve, state_dir: Path, arguments: tuple[str, ...], why: str
) -> None:
    with serve(Engine().handle):
        result = hands("watch", *arguments, "--state", state_dir)
    assert result.exit_code == 2
    assert why in result.stderr
    assert result.stdout == ""


def test_every_problem_is_said_at_once(hands, state_dir: Path) -> None:
    result = hands("watch", "AAPL", "--every", "x", "--interval", "y", "--state", state_dir)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 2)


def test_what_a_daemon_refuses_exits_1(hands, daemon) -> None:
    result = hands("watch", "AAPL", "--state", daemon.state_dir)
    assert result.exit_code == 1
    assert "not answered: watch" in result.stderr


# --- a daemon that goes, and comes back ----------------------------------------------------------------------


@contextmanager
def watching(state_dir: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `hands watch --json` as a process of its own; it is killed at the end, or when nothing happens for long."""
    command = [sys.executable, "-m", "hands", "watch", "--json", "--every", "0.1", "--state", str(state_dir)]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *arguments], stdout=pipe, stderr=pipe, text=True) as process:
        too_long = threading.Timer(WITHIN_S, process.kill)
        too_long.start()
        try:
            yield process
        finally:
            too_long.cancel()
            process.kill()


def next_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def test_a_daemon_that_goes_is_named_and_ends_it_with_3(serve, state_dir: Path) -> None:
    with ExitStack() as stack:
        with serve(Engine().handle):
            process = stack.enter_context(watching(state_dir, "AAPL"))
            assert json.loads(next_line(process.stdout))["seq"] == 1
        rest, errors = process.communicate()
    assert process.returncode == 3
    assert documents(rest)[-1]["ok"] is False
    assert "no daemon runs" in errors


def test_with_wait_it_goes_on_with_the_next_daemon(serve, state_dir: Path) -> None:
    with watching(state_dir, "AAPL", "--wait") as process:
        assert "no daemon runs" in next_line(process.stderr)
        with serve(Engine().handle):
            assert json.loads(next_line(process.stdout))["seq"] == 1
        assert "no daemon runs" in next_line(process.stderr)
        with serve(Engine().handle):
            tick = json.loads(next_line(process.stdout))
            while tick["seq"] != 1:
                tick = json.loads(next_line(process.stdout))
            assert tick["symbols"][0]["closes"] == [], "it shows closes of the daemon before"
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == 130


def test_closes_that_were_repaired_are_told_anew(
    serve, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hands.cli.watch.FORGET_AFTER_S", 0.0)
    engine = Engine()
    tap = Tap(state_dir, ["AAPL"], None)
    with serve(engine.handle):
        ticks = [tap.look() for _ in range(4)]
    assert [request["have"] for request in engine.asked] == [{}] * 4
    assert [len(tick["symbols"][0]["closes"]) for tick in ticks] == [0, 1, 2, 3]


def test_closes_that_need_several_answers_make_one_tick(serve, state_dir: Path) -> None:
    engine = Engine()
    for number in range(2 * BARS_MAX):
        for symbol in ("AAPL", "SPY"):
            engine.trade(100 + number / 100, symbol)
    tap = Tap(state_dir, ["AAPL", "SPY"], None)
    with serve(engine.handle):
        tick = tap.look()
    assert (tick["seq"], len(engine.asked)) == (2, 2)
    assert [len(row["closes"]) for row in tick["symbols"]] == [BARS_MAX] * 2


# --- a terminal ----------------------------------------------------------------------------------------------


class Terminal:
    """A terminal with `hands watch` in it; keeps all that was written to it."""

    def __init__(self, state_dir: Path, symbol: str = "AAPL") -> None:
        self._master, slave = pty.openpty()
        self.resize(80, 24)
        command = (
            sys.executable,
            "-m",
            "hands",
            "watch",
            symbol,
            "--every",
            "0.1",
            "--state",
            str(state_dir),
        )
        # These say a size that no resize changes; a test runner may export them.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=environment | {"TERM": "xterm", "PYTHONUTF8": "1"},
        )  # fmt: skip
        os.close(slave)
        self.written = b""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, *wanted: bytes) -> bytes:
        """Wait until all of `wanted` were written, in this order and after what was waited for before.

        Returns what stood before the last of them.
        """
        deadline, before = time.monotonic() + WITHIN_S, b""
        for text in wanted:
            while text not in self.written:
                assert time.monotonic() < deadline, f"{text!r} is not in {self.written[-2000:]!r}"
                assert self._read(), f"{text!r} never came: {self.written[-2000:]!r}"
            before, _, self.written = self.written.partition(text)
        return before

    def _read(self) -> bool:
        """Add what comes within a second; False at the end."""
        if not select.select([self._master], [], [], 1.0)[0]:
            return self.process.poll() is None
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # how Linux says that nobody holds the other end any more
            return False
        self.written += data
        return bool(data)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(serve, state_dir: Path) -> Iterator[Terminal]:
    with serve(Engine().handle):
        terminal = Terminal(state_dir)
        yield terminal
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_terminal_is_given_back_as_it_was(terminal: Terminal, number: signal.Signals) -> None:
    terminal.until(ALT_SCREEN, b"AAPL", b"ACTIVE")
    terminal.process.send_signal(number)
    terminal.until(SHOW_CURSOR, MAIN_SCREEN)
    assert terminal.process.wait(WITHIN_S) == 130


def test_a_new_size_is_drawn_at_once(terminal: Terminal) -> None:
    assert b"VWAP" in terminal.until(ALT_SCREEN, b"ACTIVE")
    terminal.resize(30, 6)
    terminal.until(ERASE)
    assert b"VWAP" not in terminal.until(b"ACTIVE")


def test_a_stopped_watch_gives_the_terminal_back_until_it_goes_on(terminal: Terminal) -> None:
    terminal.until(ALT_SCREEN, b"ACTIVE")
    terminal.process.send_signal(signal.SIGTSTP)
    terminal.until(MAIN_SCREEN, ALT_SCREEN, b"AAPL")


def test_a_terminal_is_given_back_before_an_error_is_said(serve, state_dir: Path) -> None:
    with serve(Engine().handle):
        terminal = Terminal(state_dir)
        terminal.until(ALT_SCREEN, b"ACTIVE")
    try:
        terminal.until(MAIN_SCREEN, b"no daemon runs")
        assert terminal.process.wait(WITHIN_S) == 3
    finally:
        terminal.close()


def test_an_error_at_the_start_takes_no_terminal(serve, state_dir: Path) -> None:
    with serve(Engine().handle):
        terminal = Terminal(state_dir, "APPL")
        try:
            assert terminal.until(b"the daemon watches AAPL") == b"hands: not watched: APPL; "
            assert terminal.process.wait(WITHIN_S) == 2
        finally:
            terminal.close()
