"""`hands limits`: what each limit is, what of it is used, whether it can bind; and the keys a newer version wants.

Owns the two commands and their layout. May not compute: the table comes from the running daemon, or, with none there,
is made from the limits file, and then no use is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, state_folder
from hands.runtime.control import NoDaemon, call

DEFAULT_LIMITS = Path("config/risk_limits.toml")
LimitsFlag = Annotated[Path, typer.Option("--limits", help="The limits file.")]

app = typer.Typer(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


@app.callback()
def limits(
    context: typer.Context,
    *,
    agent: Annotated[
        str | None, typer.Option(help="What holds for this agent, and what it has used.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="What holds on this symbol.")] = None,
    limits: LimitsFlag = DEFAULT_LIMITS,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Explain every limit: its value and where that is from, its use now, and whether it can bind at all.

    As the running daemon has them; with none, from the file, without their use. Exit 1 where a changed file was not
    taken up: while running, limits can only be tightened.

    Example: hands limits --agent momentum --symbol AAPL
    """
    if context.invoked_subcommand is not None:
        return
    try:
        answer = call(
            state_folder(config, state, as_json=as_json), {"do": "limits", "agent": agent, "symbol": symbol}
        )
    except NoDaemon as error:
        document = _from_file(limits, agent, symbol, as_json=as_json) | {"message": str(error)}
    else:
        if not answer.get("ok"):
            fail(ExitCode.NEGATIVE, str(answer.get("error")), as_json=as_json)
        document = answer["limits"] | {"daemon": True}
    if as_json:
        print_json(document)
    else:
        say("\n".join(_lines(document)))
    raise typer.Exit(int(ExitCode.NEGATIVE if document["refused"] else ExitCode.FINE))


def _from_file(path: Path, agent: str | None, symbol: str | None, *, as_json: bool) -> dict[str, Any]:
    from hands.core.limits import LimitsError, read_limits
    from hands.runtime.limits_file import LimitsUnreadable, read_limits_text
    from hands.runtime.limits_table import limits_table

    try:
        file = read_limits(read_limits_text(path))
        return limits_table(file, None, 0, agent=agent, symbol=symbol) | {"daemon": False}
    except LimitsUnreadable as error:
        fail(ExitCode.USAGE, f"{path}: {error}", as_json=as_json)
    except LimitsError as error:
        fail(ExitCode.USAGE, [f"{path}: {problem}" for problem in error.problems], as_json=as_json)
    except KeyError as error:
        fail(ExitCode.NEGATIVE, str(error.args[0]), as_json=as_json)


def _lines(document: dict[str, Any]) -> list[str]:
    equity = document["equity_usd"]
    whose = ", ".join(
        f"{name} {document[name]}" for name in ("agent", "symbol") if document[name] is not None
    )
    lines = [
        f"limits {document['sha256'][:12]}{f' of {whose}' if whose else ''}"
        + (f", equity {equity} USD" if equity else "")
    ]
    if not document["daemon"]:
        lines.append(f"  no daemon: from the file, and no use is known ({document['message']})")
    rows = [
        [
            row["key"],
            row["value"],
            row["from"],
            row["tighter"],
            _use(row),
            row["binds"],
            row["meaning"],
        ]
        for row in document["rows"]
    ]
    lines += table(("key", "value", "from", "tighter", "now", "binds", ""), rows)
    notes = [(row["key"], row["binds"], row["why"]) for row in document["rows"] if row["why"]]
    if notes:
        lines += ["", "which can bind:", *(f"  {key}: {can}, {why}" for key, can, why in notes)]
    if document["loosened_at_start"]:
        lines += ["", "looser than in the session before, or another way:"]
        lines += [f"  {change}" for change in document["loosened_at_start"]]
    refused = document["refused"]
    if refused:
        lines += ["", f"the file has changed and is not taken up (since {refused['since']}):"]
        lines += [f"  {problem}" for problem in refused["problems"]]
    return lines


def _use(row: dict[str, Any]) -> str | None:
    if row["used"] is None:
        return None
    return f"{row['used']} of {row['allowed']}" if row["allowed"] is not None else str(row["used"])


@app.command("add-missing")
def add_missing(*, limits: LimitsFlag = DEFAULT_LIMITS, as_json: JsonFlag = False) -> None:
    """Add the keys that this version wants and the limits file lacks, with the shipped values.

    The rest of the file stays as it is, byte for byte. Exit 1 where something else is still wrong with it.

    Example: hands limits add-missing --limits config/risk_limits.toml
    """
    from hands.core.limits import LimitsError, read_limits
    from hands.core.missing_keys import CannotAdd, with_missing
    from hands.runtime.limits_file import LimitsUnreadable, read_limits_text, replace_limits_text

    try:
        text, added = with_missing(read_limits_text(limits))
        if added:
            replace_limits_text(limits, text)
    except (LimitsUnreadable, CannotAdd) as error:
        fail(ExitCode.USAGE, f"{limits}: {error}", as_json=as_json)
    except OSError as error:
        fail(ExitCode.USAGE, f"{limits}: not written: {error.strerror or error}", as_json=as_json)
    try:
        read_limits(text)
        problems = []
    except LimitsError as error:
        problems = error.problems
    if as_json:
        rows = [{"table": name, "key": line.name, "value": line.value} for name, line in added]
        print_json({"ok": not problems, "added": rows, "problems": problems})
    else:
        say("\n".join([f"added to [{name}]: {line.text}" for name, line in added] or ["nothing is missing"]))
        for problem in problems:
            say(f"hands: {limits}: {problem}", err=True)
    raise typer.Exit(int(ExitCode.NEGATIVE if problems else ExitCode.FINE))
