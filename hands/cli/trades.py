"""The operator's hand on single trades and on all of them: `cancel`, `close`, `amend`, `adopt`, `flatten`.

Owns their arguments, the question before a flatten, and the wait until a trade is flat. May not decide what becomes of a
trade: the daemon does, and says so in a sentence. The one idea: none of these is ever blocked by a limit, and each only
makes a position smaller or its stop tighter.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, harmless, print_json, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, ask, state_folder
from hands.cli.times import short_time

if TYPE_CHECKING:
    from pathlib import Path

Document = dict[str, Any]

POLL_S = 0.1
TIMEOUT_S = 30.0
UNFILLED_SHOWN = 20
OVER = frozenset({"CLOSED", "EXPIRED", "CANCELED", "VENUE_REJECTED", "REJECTED", "REFUSED", "DONE", "DRAFT"})

WITHOUT = (
    "start it with `hands run`; until then what rests at the venue protects, and orders and positions can be changed in the"
    " broker's own app, which Hands takes in at its next start"
)
FLATTEN_WITHOUT = f"`hands halt` works without it, by a file; {WITHOUT}"

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID|SYMBOL", help="An intent's id (or its first characters, six at least), or a symbol."
    ),
]
WaitFlag = Annotated[
    bool | None,
    typer.Option("--wait/--no-wait", help="Until it is flat [on a terminal: --wait]."),
]
TimeoutFlag = Annotated[
    float, typer.Option("--timeout", metavar="S", help="Seconds to wait at most.", min=0, max=86_400)
]


def cancel(
    which: TargetArgument,
    *,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Take back what is armed or not filled yet. What was filled already is protected, not sold: see `hands close`.

    Exit 1 where there is nothing to cancel.

    Example: hands cancel 6f9619ff
    """
    folder = state_folder(config, state, as_json=as_json)
    _tell(_act(folder, {"do": "cancel", "target": which}, as_json=as_json), as_json=as_json)


def close(
    which: TargetArgument,
    *,
    qty: Annotated[str | None, typer.Option(metavar="Q", help="Only so much of it [all].")] = None,
    wait: WaitFlag = None,
    timeout: TimeoutFlag = TIMEOUT_S,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Sell what a trade holds, or buy back what it is short; of one that has not filled yet, take the order back.

    With --qty only that much; the rest stays protected. While the market is closed the stop stays where it is and the
    exit waits for the open. With --wait: exit 0 once it is done, 1 where it is not after --timeout or has to wait for
    the open. Exit 1 where there is nothing to close.

    Example: hands close AAPL --wait
    """
    problems: list[str] = []
    _positive("--qty", qty, problems)
    _stop_at(problems, as_json=as_json)
    folder = state_folder(config, state, as_json=as_json)
    answer = _act(folder, {"do": "close", "target": which, "qty": qty}, as_json=as_json)
    _tell(answer, as_json=as_json, wait=_patience(folder, answer, wait, timeout, part=qty is not None))


def amend(
    which: TargetArgument,
    *,
    stop: Annotated[str | None, typer.Option(metavar="P", help="A tighter stop; never a looser one.")] = None,
    target: Annotated[str | None, typer.Option(metavar="P", help="Another target.")] = None,
    max_hold: Annotated[
        str | None, typer.Option(metavar="S", help="Held at most so many seconds; never longer than before.")
    ] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Tighten the stop of a trade, move its target, or shorten how long it may be held: at least one of them.

    The venue's orders follow; until they have, the old ones protect. Exit 1 where it would loosen anything.

    Example: hands amend 6f9619ff --stop 149
    """
    problems: list[str] = []
    for flag, value in (("--stop", stop), ("--target", target), ("--max-hold", max_hold)):
        _positive(flag, value, problems)
    if stop is None and target is None and max_hold is None:
        problems.append("say what to change: --stop, --target or --max-hold")
    _stop_at(problems, as_json=as_json)
    folder = state_folder(config, state, as_json=as_json)
    request = {"do": "amend", "target": which, "stop_loss": stop, "take_profit": target}
    _tell(_act(folder, request | {"max_hold_seconds": max_hold}, as_json=as_json), as_json=as_json)


def adopt(
    symbol: Annotated[
        str, typer.Argument(help="AAPL, SOL/USD: what the account holds and Hands does not own.")
    ],
    *,
    stop: Annotated[str, typer.Option(metavar="P", help="Where its stop is to rest.")],
    target: Annotated[
        str | None, typer.Option(metavar="P", help="Where to take the profit [nowhere].")
    ] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Let Hands look after a holding that it did not buy: from now on it is protected, counted and closed like its own.

    Its cost is the venue's average price; what it earns counts from now on. Refused while orders that are not Hands' work
    on the symbol, or a trade of Hands lives there: exit 1.

    Example: hands adopt AAPL --stop 140
    """
    problems: list[str] = []
    _positive("--stop", stop, problems)
    _positive("--target", target, problems)
    _stop_at(problems, as_json=as_json)
    folder = state_folder(config, state, as_json=as_json)
    request = {"do": "adopt", "symbol": symbol, "stop_loss": stop, "take_profit": target}
    _tell(_act(folder, request, as_json=as_json), as_json=as_json)


def flatten(
    symbol: Annotated[
        str | None, typer.Argument(help="Only this symbol [everything that Hands owns].")
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False,
    reason: Annotated[str, typer.Option(help="Kept in the ledger and shown by `hands status`.")] = "",
    wait: WaitFlag = None,
    timeout: TimeoutFlag = TIMEOUT_S,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Get out: cancel every entry, disarm what waits, sell what Hands owns, and halt until `hands resume`.

    What is not Hands' own is left alone. While the market is closed an equity's stop stays and its exit waits for the
    open, also across a restart. On a terminal it says what will be sold and asks first. With --wait: exit 0 once
    everything is flat, 1 where it is not after --timeout or has to wait for the open.

    Example: hands flatten --yes --wait
    """
    folder = state_folder(config, state, as_json=as_json)
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        _confirm(folder, symbol, as_json=as_json)
    said = " ".join(harmless(reason).split())[:200]
    request = {"do": "flatten", "symbol": symbol, "reason": said}
    answer = _act(folder, request, as_json=as_json, instead=FLATTEN_WITHOUT)
    _tell(answer, as_json=as_json, wait=_patience(folder, answer, wait, timeout, part=False))


# --- what is said before ------------------------------------------------------------------------------------


def _positive(flag: str, text: str | None, problems: list[str]) -> None:
    from hands.core.units import NumberError, nano

    try:
        if text is not None and nano(text) <= 0:
            problems.append(f"{flag} must be above 0, not {text}")
    except NumberError as error:
        problems.append(f"{flag}: {error}")


def _stop_at(problems: list[str], *, as_json: bool) -> None:
    if problems:
        fail(ExitCode.USAGE, problems, as_json=as_json)


def _confirm(folder: Path, symbol: str | None, *, as_json: bool) -> None:
    """Say what would be sold and ask; end with exit code 1 where the answer is no."""
    asked = ask(folder, {"do": "positions"}, as_json=as_json, instead=FLATTEN_WITHOUT)
    for line in flatten_lines(asked["positions"], symbol):
        say(line, err=True)
    try:
        answer = input_line("Go on? [y/N] ")
    except (KeyboardInterrupt, EOFError):
        fail(ExitCode.INTERRUPTED, "nothing was done", as_json=as_json)
    if answer.strip().lower() not in ("y", "yes"):
        fail(ExitCode.NEGATIVE, "nothing was done", as_json=as_json)


def input_line(question: str) -> str:
    """Ask on stderr, so that stdout stays one document. Raises EOFError."""
    typer.echo(question, nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def flatten_lines(found: Document, symbol: str | None) -> list[str]:
    """Return what a flatten would do now: `found` is the daemon's answer to `hands positions`."""
    only = None if symbol is None else symbol.upper()
    owned = [row for row in found["owned"] if only in (None, row["symbol"])]
    unfilled = [row for row in found["unfilled"] if only in (None, row["symbol"])]
    lines = [
        "This gets out of " + ("everything that Hands owns" if only is None else f"{only}")
        + " and halts all trading until `hands resume`:"
    ]  # fmt: skip
    for row in owned:
        word = "sell" if row["direction"] == "LONG" else "buy back"
        lines.append(
            f"  {row['symbol']}: {word} {row['qty']}, now about {row['mark'] or 'an unknown price'}"
            + ("" if row["unrealised_usd"] is None else f" ({row['unrealised_usd']} USD unrealised)")
        )
        if row["opens_again"] is not None:
            lines.append(
                "    the market is closed: the stop stays, the exit waits for the open,"
                f" {short_time(row['opens_again'])} UTC"
            )
    lines += [f"  {row['symbol']}: cancel what is {row['state']}" for row in unfilled[:UNFILLED_SHOWN]]
    if len(unfilled) > UNFILLED_SHOWN:
        lines.append(f"  ... and {len(unfilled) - UNFILLED_SHOWN} more that are not filled yet, at least")
    if not owned and not unfilled:
        lines.append("  nothing is owned, nothing works")
    return lines


# --- the act and the wait ------------------------------------------------------------------------------------


def _act(folder: Path, request: Document, *, as_json: bool, instead: str = WITHOUT) -> Document:
    return ask(folder, request, as_json=as_json, instead=instead)


class _Patience:
    """What is waited for: these trades, until they are over (or, of a `part`, until it is closed)."""

    def __init__(self, folder: Path, ids: list[str], timeout_s: float, *, part: bool) -> None:
        self.folder = folder
        self.ids = ids
        self.timeout_s = timeout_s
        self.part = part

    def is_done(self, trade: Document) -> bool:
        if trade["state"] in OVER:
            return True
        return self.part and trade["closing_qty"] is None and trade["exit_wanted"] is None


def _patience(
    folder: Path, answer: Document, wait: bool | None, timeout_s: float, *, part: bool
) -> _Patience | None:
    """Return what to wait for, None where nobody asked for it and nobody looks on."""
    if not (sys.stdout.isatty() if wait is None else wait):
        return None
    return _Patience(folder, list(answer["intent_ids"]), timeout_s, part=part)


def _tell(answer: Document, *, as_json: bool, wait: _Patience | None = None) -> None:
    """Print what was said to an act; where it is waited for, follow its trades and end with how they stand."""
    if not as_json:
        say(answer["message"])
    if wait is None:
        if as_json:
            print_json({name: answer[name] for name in ("ok", "message", "intent_ids", "trades", "state")})
        return
    trades = _follow(wait, quiet=as_json)
    pending = [trade for trade in trades if not wait.is_done(trade)]
    waits_for = [_waits_for(trade) for trade in pending]
    if as_json:
        told = {name: answer[name] for name in ("ok", "message", "intent_ids", "state")}
        print_json(told | {"trades": trades, "done": not pending, "waits_for": waits_for})
    else:
        for line in waits_for:
            say(line)
    if pending:
        raise typer.Exit(int(ExitCode.NEGATIVE))


def _follow(wait: _Patience, *, quiet: bool) -> list[Document]:
    """Look at the trades until each is done, has to wait for the open, or the time is over; return them as last seen."""
    deadline = time.monotonic() + wait.timeout_s
    shown: dict[str, str] = {}
    while True:
        request = {"do": "trades", "ids": wait.ids}
        trades: list[Document] = ask(wait.folder, request, as_json=quiet, instead=WITHOUT)["trades"]
        for trade in trades:
            line = trade_line(trade)
            if shown.get(trade["intent_id"]) != line and not quiet:
                say(line)
            shown[trade["intent_id"]] = line
        open_ones = [trade for trade in trades if not wait.is_done(trade)]
        if all(trade["waits_for_open"] is not None for trade in open_ones) or time.monotonic() >= deadline:
            return trades
        time.sleep(POLL_S)


def trade_line(trade: Document) -> str:
    """Return how a trade stands, in one line."""
    ended, held = trade["exit"], trade["position"]
    if ended is not None:
        return f"  {trade['symbol']}: over by {ended['reason']} at {ended['price']}: {ended['pnl_usd']} USD"
    holds = "nothing held" if held is None or held["qty"] == "0" else f"{held['qty']} held"
    return f"  {trade['symbol']}: {trade['state']}, {holds}"


def _waits_for(trade: Document) -> str:
    """Return what a trade that is not done waits for."""
    if trade["waits_for_open"] is not None:
        when = short_time(trade["waits_for_open"])
        return f"{trade['symbol']}: the market is closed: the stop stays, the exit waits for the open, {when} UTC"
    return f"{trade['symbol']}: not done yet: {trade['next']}"
