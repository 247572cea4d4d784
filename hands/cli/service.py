"""`hands run`: the daemon as a command.

Owns its flags, the ready line on stdout and the exit codes of a refused start. May not decide when to stop: the
daemon handles SIGTERM and SIGINT itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hands.cli.output import ExitCode, JsonFlag, members, refuse_start


def run(
    *,
    config: Annotated[Path, typer.Option(help="Where Hands works and how often it asks.")] = Path(
        "config/hands.toml"
    ),
    limits: Annotated[Path, typer.Option(help="Every hard limit; without it nothing starts.")] = Path(
        "config/risk_limits.toml"
    ),
    intents: Annotated[Path | None, typer.Option(help="The drop folder [hands.toml].")] = None,
    state: Annotated[Path | None, typer.Option(help="The state directory [hands.toml].")] = None,
    alpaca_url: Annotated[
        str | None, typer.Option(help="All Alpaca hosts on one base URL, as `hands sim` serves them.")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="A,B/USD: narrows the allow-list.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Full verdicts, never an order call.")] = False,
    live: Annotated[
        str | None, typer.Option(metavar="ACCOUNT_NUMBER", help="Real money; must match the account.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the daemon: watch the market, judge what is dropped, protect what it owns.

    Stops cleanly on Ctrl-C or SIGTERM; what rests at the venue keeps protecting. Credentials come from the
    environment: APCA_API_KEY_ID, APCA_API_SECRET_KEY, APCA_API_BASE_URL (absent: paper).

    Example: hands run --alpaca-url http://127.0.0.1:8080 --state var/paper
    """
    from hands.runtime.config import ConfigError, Options, Unsafe
    from hands.runtime.daemon import run as run_daemon

    def ready(about: dict[str, object]) -> None:
        if as_json:
            typer.echo(json.dumps({"event": "ready"} | about, separators=(",", ":"), default=str))
        else:
            known = ", ".join(f"{name} {value}" for name, value in about.items() if name != "event")
            typer.echo(f"ready: {known}")

    options = Options(
        config=config,
        limits=limits,
        intents=intents,
        state=state,
        alpaca_url=alpaca_url,
        symbols=None if symbols is None else members(symbols),
        dry_run=dry_run,
        live=live,
        log_json=as_json,
    )
    try:
        code = run_daemon(options, ready)
    except ConfigError as error:
        refuse_start(ExitCode.USAGE, error.problems, as_json=as_json)
    except Unsafe as error:
        refuse_start(ExitCode.UNSAFE, [str(error)], as_json=as_json)
    raise typer.Exit(code)
