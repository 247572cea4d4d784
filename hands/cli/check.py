"""`hands check` and `hands schema`: what would be said to a document, without sending it.

Owns the state an offline check is made on: the limits file, an ordinary account, an open session and nothing that
happened before. May not judge: the guardian does (`hands.runtime.what_if`). The one idea: a check that needs
something nobody told us is left out, never answered by a guess.
"""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_receipt
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, ask, state_folder

if TYPE_CHECKING:
    from hands.core.limits import LimitsFile
    from hands.core.state import State

NEEDS_NO_MARKET = (
    "ttl", "future_timestamp", "ttl_length", "symbol_allowed", "short_allowed", "confidence", "geometry", "stop_far",
    "stop_close", "reward_risk", "venue_rule",
)  # fmt: skip
"""Judged at the trigger price where a price is needed."""


class Kind(StrEnum):
    INTENT = "intent"
    CANCEL = "cancel"
    CLOSE = "close"
    AMEND = "amend"
    RECEIPT = "receipt"


def check(
    file: Annotated[Path, typer.Argument(help="A document; - reads it from stdin.", allow_dash=True)],
    *,
    quote: Annotated[str | None, typer.Option(metavar="BID,ASK", help="Judge against this market.")] = None,
    equity: Annotated[str | None, typer.Option(metavar="USD", help="... with this account.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Judged by the running daemon, as of now.")] = False,
    stamp: Annotated[
        bool, typer.Option("--stamp", help="As if written this moment, under a fresh id.")
    ] = False,
    agent: Annotated[str, typer.Option(help="Whose limits hold.")] = "default",
    limits: Annotated[Path, typer.Option(help="The limits file.")] = Path("config/risk_limits.toml"),
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what the verdict would be, without sending anything. Exit 0 where accepted, 1 where not.

    Alone: the schema and every check that needs no market. With --quote and --equity: every check, on an ordinary
    account in an open session. With --live: by the running daemon, against its market and its account.

    Example: hands check --stamp --quote 149.98,150.00 --equity 100000 intents/examples/01-equity-bracket-long.json
    """
    if live and (quote is not None or equity is not None):
        fail(
            ExitCode.USAGE,
            "--live takes the daemon's market and account: leave --quote and --equity out",
            as_json=as_json,
        )
    if (quote is None) != (equity is None):
        fail(ExitCode.USAGE, "--quote and --equity belong together", as_json=as_json)
    data = _document(file, stamp=stamp, as_json=as_json)
    if live:
        request = {"do": "check", "document": data.decode("utf-8", "surrogateescape"), "agent": agent}
        receipt = ask(state_folder(config, state, as_json=as_json), request, as_json=as_json)["receipt"]
    else:
        receipt = _offline(data, agent, _limits(limits, as_json=as_json), quote, equity, as_json=as_json)
    print_receipt(receipt, as_json=as_json)
    raise typer.Exit(int(ExitCode.FINE if receipt["verdict"] == "ACCEPTED" else ExitCode.NEGATIVE))


def _document(file: Path, *, stamp: bool, as_json: bool) -> bytes:
    from hands.cli.documents import stamped
    from hands.core.intents import Refusal, read_document

    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(ExitCode.USAGE, f"{file}: {error.strerror}", as_json=as_json)
    if stamp and not isinstance(read_document(data), Refusal):
        return stamped(data)
    return data


def _limits(path: Path, *, as_json: bool) -> LimitsFile:
    from hands.core.limits import LimitsError, read_limits

    try:
        return read_limits(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        fail(ExitCode.USAGE, f"{path}: {error}", as_json=as_json)
    except LimitsError as error:
        fail(ExitCode.USAGE, [f"{path}: {problem}" for problem in error.problems], as_json=as_json)


def _offline(
    data: bytes, agent: str, limits: LimitsFile, quote: str | None, equity: str | None, *, as_json: bool
) -> dict[str, Any]:
    """Return the receipt on a made-up state: everything with a quote and an equity, else what needs no market."""
    from hands.core.intents import Change, Intent, read_document
    from hands.core.risk import CHECKS
    from hands.core.units import NumberError
    from hands.runtime.what_if import what_if

    found = read_document(data)
    symbol = found.asset if isinstance(found, Intent) else "X"
    now_ns = time.time_ns()
    try:
        state = ordinary_state(limits, symbol, now_ns, quote, equity)
    except (NumberError, ValueError) as error:
        fail(ExitCode.USAGE, f"--quote BID,ASK --equity USD: {error}", as_json=as_json)
    if isinstance(found, Change):
        return what_if(state, data, agent, now_ns, ())  # only the daemon knows its target
    if quote is not None:
        return what_if(state, data, agent, now_ns)
    asked = tuple(check for check in CHECKS if check.name in NEEDS_NO_MARKET)
    receipt = what_if(state, data, agent, now_ns, asked)
    if receipt["verdict"] == "ACCEPTED":
        receipt["message"] = "nothing against it so far; session, market, budgets and size were not asked"
        receipt["next"] = "Give --quote and --equity, or --live, for the rest."
    return receipt


def ordinary_state(
    limits: LimitsFile, symbol: str, now_ns: int, quote: str | None = None, equity: str | None = None
) -> State:
    """Return a state with nothing wrong: reconciled, in session, one tradable asset, and the quote as its market.

    Raises:
        ValueError: `quote` is not BID,ASK, or `equity` is not an amount.
    """
    from hands.core.events import AccountReport, Asset, Link, SessionReport
    from hands.core.market import Market
    from hands.core.state import State
    from hands.core.units import NANO, Ns, Qty, Usd, nano
    from hands.core.vocab import AssetClass, Venue

    is_crypto = "/" in symbol
    state = State(limits, Market((symbol,)), Venue.SIM)
    state.now_ns = Ns(now_ns)
    state.reconciled = True
    state.links = dict.fromkeys(Link, True)
    owned = Usd(nano(equity) if equity is not None else 0)
    state.account = AccountReport(
        ts_ns=Ns(now_ns),
        asked_ns=Ns(now_ns),
        account_number="",
        status="ACTIVE",
        equity=owned,
        cash=owned,
        buying_power=owned,
        non_marginable_buying_power=owned,
        shorting_enabled=True,
        crypto_status="ACTIVE",
        multiplier=2,
    )
    state.day.equity = owned
    state.assets[symbol] = Asset(
        symbol=symbol,
        asset_class=AssetClass.CRYPTO if is_crypto else AssetClass.EQUITY,
        status="active",
        tradable=True,
        shortable=not is_crypto,
        fractionable=is_crypto,
        lot=Qty(1 if is_crypto else NANO),
        min_order_qty=Qty(1 if is_crypto else NANO),
        easy_to_borrow=not is_crypto,
    )
    day_ns = Ns(86_400 * NANO)
    state.session = SessionReport(
        ts_ns=Ns(now_ns),
        is_open=True,
        open_ns=Ns(now_ns - day_ns),
        next_open_ns=Ns(now_ns + 2 * day_ns),
        next_close_ns=Ns(now_ns + day_ns),
    )
    if quote is not None:
        _take_quote(state, quote, now_ns)
    return state


def _take_quote(state: State, quote: str, now_ns: int) -> None:
    from hands.core.market import RowKind, new_rows
    from hands.core.units import NANO, nano

    bid, comma, ask_ = quote.partition(",")
    if not comma:
        raise ValueError(f"{quote!r} is not BID,ASK")
    rows = new_rows(1)
    rows["sym"], rows["kind"] = 0, RowKind.QUOTE
    rows["price"], rows["price2"] = nano(bid) / NANO, nano(ask_) / NANO
    rows["size"] = rows["size2"] = 1_000.0
    rows["venue_ns"] = rows["recv_ns"] = now_ns
    state.market.consume(rows, 0, 1)


def schema(
    kind: Annotated[
        Kind, typer.Argument(help="intent, cancel, close, amend (what an agent writes) or receipt")
    ],
    *,
    as_json: JsonFlag = False,
) -> None:
    """Print the JSON Schema of what an agent writes, or of what it reads.

    Example: hands schema intent > intent.schema.json
    """
    import json

    if kind is Kind.RECEIPT:
        from hands.cli.schemas import receipt_schema

        document = receipt_schema()
    else:
        from hands.core.intents import document_schema

        document = document_schema(str(kind))
    typer.echo(json.dumps(document, indent=None if as_json else 2))
