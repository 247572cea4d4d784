"""`hands new` and `hands send`: writing an intent, dropping it, and waiting for what is said to it.

Owns the drop from the client's side: validated first, written under a hidden name, renamed into place. May not size
or judge. The one idea: an agent could do everything here with a file and a rename; these commands only save the
typing.
"""

from __future__ import annotations

import json
import os
import secrets
import time
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, print_receipt, receipt_lines, say
from hands.cli.places import (
    DEFAULT_CONFIG,
    ConfigFlag,
    IntentsFlag,
    StateFlag,
    ask,
    intents_folder,
    state_folder,
)

POLL_S = 0.02
VERDICT_TIMEOUT_S = 10.0
CLOSED_TIMEOUT_S = 86_400.0
OVER = frozenset({"CLOSED", "EXPIRED", "CANCELED", "VENUE_REJECTED", "REJECTED", "REFUSED", "DONE", "DRAFT"})


class Wait(StrEnum):
    VERDICT = "verdict"
    CLOSED = "closed"


class DirectionArgument(StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"


class Entry(StrEnum):
    NOW = "now"
    TOUCH = "touch"


WaitFlag = Annotated[Wait, typer.Option("--wait", help="Until it is judged, or until the trade is over.")]
TimeoutFlag = Annotated[
    float | None, typer.Option("--timeout", metavar="S", help="Seconds to wait [10; closed: a day].")
]


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def stamped(data: bytes, **changes: Any) -> bytes:
    """Return a readable document with a fresh id and time (and `changes`), every other number as it was written."""
    import orjson

    document = json.loads(data, parse_float=_verbatim, parse_int=_verbatim)
    document |= {"intent_id": str(uuid.uuid4()), "timestamp": now_text()} | changes
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _verbatim(text: str) -> Any:
    import orjson

    return orjson.Fragment(text)


# --- dropping ------------------------------------------------------------------------------------------------


def drop(folder: Path, name: str, data: bytes) -> None:
    """Make `data` appear in `folder` under `name` at once. Raises OSError."""
    part = folder / f".{name}.{secrets.token_hex(4)}.tmp"
    try:
        with part.open("xb") as file:
            file.write(data)
        part.rename(folder / name)
    except OSError:
        part.unlink(missing_ok=True)
        raise


class Dropped:
    """One dropped document and where its answer will appear."""

    def __init__(self, folder: Path, data: bytes, intent_id: str) -> None:
        self.intent_id = intent_id
        self.name = f"{intent_id}.{secrets.token_hex(3)}.json"
        self._receipt = folder / "receipts" / f"{intent_id}.json"
        self._refused = folder / "refused" / f"{self.name}.receipt.json"
        self._foreign = self._receipt.exists()  # of an earlier document under this id: not ours
        drop(folder, self.name, data)

    def answer(self) -> dict[str, Any] | None:
        """Return the newest receipt, None while there is none."""
        paths = (self._refused,) if self._foreign else (self._receipt, self._refused)
        for path in paths:
            try:
                found = json.loads(path.read_bytes())
            except FileNotFoundError:
                continue
            if isinstance(found, dict):
                return found
        return None

    def wait(self, until: Wait, timeout_s: float) -> tuple[dict[str, Any] | None, bool]:
        """Return (newest receipt, whether what was waited for has come)."""
        deadline = time.monotonic() + timeout_s
        while True:
            receipt = self.answer()
            if receipt is not None and (until is Wait.VERDICT or receipt["state"] in OVER):
                return receipt, True
            if time.monotonic() >= deadline:
                return receipt, False
            time.sleep(POLL_S)


def _drop_folder(config: Path, state: Path | None, intents: Path | None, *, as_json: bool) -> Path:
    """Return where to drop: `--intents` (as an agent would, without the control socket), or where the daemon looks."""
    if intents is not None:
        if not intents.is_dir():
            fail(ExitCode.USAGE, f"{intents} is not a folder", as_json=as_json)
        return intents
    place = state_folder(config, state, as_json=as_json)
    told = ask(place, {"do": "status"}, as_json=as_json)["status"].get("intents")
    return Path(told) if told else intents_folder(config, place, None, as_json=as_json)


def _deliver(
    folder: Path, data: bytes, intent_id: str, until: Wait, timeout_s: float | None
) -> dict[str, Any]:
    """Drop one document and return what became of it: its receipt, or a document that says that none came."""
    limit = timeout_s
    if limit is None:
        limit = VERDICT_TIMEOUT_S if until is Wait.VERDICT else CLOSED_TIMEOUT_S
    receipt, came = Dropped(folder, data, intent_id).wait(until, limit)
    if receipt is None:
        message = f"no answer within {limit:g} s: is the daemon running on {folder}?"
        return {"intent_id": intent_id, "verdict": None, "code": None, "state": None, "message": message}
    return receipt if came else receipt | {"timed_out": True}


def _exit_code(receipts: list[dict[str, Any]]) -> ExitCode:
    if any(receipt["verdict"] is None for receipt in receipts):
        return ExitCode.UNSAFE
    if any(receipt["verdict"] != "ACCEPTED" or receipt.get("timed_out") for receipt in receipts):
        return ExitCode.NEGATIVE
    return ExitCode.FINE


def _show(receipt: dict[str, Any]) -> None:
    if receipt["verdict"] is None:
        say(f"hands: {receipt['intent_id']}: {receipt['message']}", err=True)
        return
    say("\n".join(receipt_lines(receipt)))
    if receipt.get("timed_out"):
        say("  (not over when the time to wait was)")


def send(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Intents to drop, in this order.")],
    *,
    stamp: Annotated[bool, typer.Option("--stamp", help="Give each a fresh id and time.")] = False,
    wait: WaitFlag = Wait.VERDICT,
    timeout: TimeoutFlag = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    intents: IntentsFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Validate files, drop them atomically and wait for their receipts.

    Exit 0 where all were accepted, 1 where not (a file that cannot be read as an intent is not dropped), 3 where no
    daemon answers. `--json`: one receipt, or a list of them for several files.

    Example: hands send --stamp --wait closed intents/examples/01-equity-bracket-long.json
    """
    from hands.core.intents import Refusal, read_document

    documents: list[tuple[bytes, str | Refusal]] = []
    for path in files:
        try:
            data = path.read_bytes()
        except OSError as error:
            fail(ExitCode.USAGE, f"{path}: {error.strerror}", as_json=as_json)
        found = read_document(data)
        if stamp and not isinstance(found, Refusal):
            data = stamped(data)
            found = read_document(data)
        documents.append((data, found if isinstance(found, Refusal) else found.intent_id))
    folder = _drop_folder(config, state, intents, as_json=as_json)
    receipts: list[dict[str, Any]] = []
    for data, known in documents:
        if isinstance(known, Refusal):
            receipts.append(_not_dropped(known))
        else:
            try:
                receipts.append(_deliver(folder, data, known, wait, timeout))
            except OSError as error:
                fail(ExitCode.USAGE, f"{folder}: cannot drop: {error.strerror}", as_json=as_json)
        if not as_json:
            _show(receipts[-1])
    if as_json:
        print_json(receipts[0] if len(files) == 1 else receipts)
    raise typer.Exit(int(_exit_code(receipts)))


def _not_dropped(refusal: Any) -> dict[str, Any]:
    return {
        "intent_id": refusal.intent_id,
        "verdict": "REFUSED",
        "code": str(refusal.code),
        "state": "REFUSED",
        "message": f"not dropped: {refusal.message}",
    }


# --- writing -------------------------------------------------------------------------------------------------


def _number(name: str, text: str | None) -> Any:
    """Return a number from the command line to be written exactly as it was typed."""
    import orjson

    from hands.core.units import NumberError, parse_decimal

    if text is None:
        return None
    try:
        parse_decimal(text)
    except NumberError as error:
        raise typer.BadParameter(str(error), param_hint=name) from error
    return orjson.Fragment(text)


def new(
    symbol: Annotated[str, typer.Argument(help="AAPL, SOL/USD")],
    direction: Annotated[DirectionArgument, typer.Argument(case_sensitive=False)],
    *,
    stop: Annotated[str, typer.Option(metavar="P", help="Protective stop price.")],
    target: Annotated[str, typer.Option(metavar="P", help="Target price.")],
    trigger: Annotated[
        str | None, typer.Option(metavar="P", help="Trigger price [the quote: LONG ask, SHORT bid].")
    ] = None,
    confidence: Annotated[str, typer.Option(metavar="C", help="0..1")] = "0.75",
    ttl: Annotated[str, typer.Option(metavar="S", help="Seconds it is good for.")] = "15",
    strategy: Annotated[str, typer.Option(metavar="REF", help="Name of the idea's author.")] = "operator/cli",
    entry: Annotated[Entry, typer.Option(help="now, or touch: wait for the trigger price.")] = Entry.NOW,
    arm: Annotated[str | None, typer.Option(metavar="S", help="touch only: seconds to wait.")] = None,
    qty: Annotated[str | None, typer.Option(metavar="Q", help="A ceiling for the size.")] = None,
    max_hold: Annotated[str | None, typer.Option(metavar="S", help="Exit after so many seconds.")] = None,
    thesis: Annotated[str | None, typer.Option(help="Why, for the memory.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Drop it and wait for the verdict.")] = False,
    wait: WaitFlag = Wait.VERDICT,
    timeout: TimeoutFlag = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    intents: IntentsFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a complete intent at the daemon's current quote; with --send, drop it.

    Example: hands new AAPL LONG --stop 148 --target 155 --send
    """
    import orjson

    from hands.core.intents import Refusal, read_document

    numbers = {
        "trigger_price": _number("--trigger", trigger),
        "take_profit": _number("--target", target),
        "stop_loss": _number("--stop", stop),
        "confidence": _number("--confidence", confidence),
        "ttl_seconds": _number("--ttl", ttl),
        "arm_seconds": _number("--arm", arm),
        "qty": _number("--qty", qty),
        "max_hold_seconds": _number("--max-hold", max_hold),
    }
    request = {"do": "quote", "symbols": [symbol]}
    [market] = ask(state_folder(config, state, as_json=as_json), request, as_json=as_json)["quotes"]
    price = market["ask"] if direction is DirectionArgument.LONG else market["bid"]
    if trigger is None:
        if price is None:
            fail(ExitCode.NEGATIVE, f"the daemon has no quote of {symbol}; give --trigger", as_json=as_json)
        numbers["trigger_price"] = orjson.Fragment(price)
    document = {"intent_id": str(uuid.uuid4()), "asset": symbol, "direction": str(direction)}
    document |= {name: value for name, value in numbers.items() if value is not None}
    document |= {"strategy_ref": strategy, "timestamp": now_text()}
    if entry is Entry.TOUCH:
        document["entry"] = str(entry)
    if thesis is not None:
        document["thesis"] = thesis
    data = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    found = read_document(data)
    if isinstance(found, Refusal):
        fail(ExitCode.USAGE, found.message, as_json=as_json)
    if not send:
        typer.echo(orjson.dumps(document).decode() if as_json else data.decode())
        return
    folder = _drop_folder(config, state, intents, as_json=as_json)
    try:
        receipt = _deliver(folder, data, found.intent_id, wait, timeout)
    except OSError as error:
        fail(ExitCode.USAGE, f"{folder}: cannot drop: {os.strerror(error.errno or 0)}", as_json=as_json)
    if as_json or receipt["verdict"] is not None:
        print_receipt(receipt, as_json=as_json)
    else:
        _show(receipt)
    raise typer.Exit(int(_exit_code([receipt])))
