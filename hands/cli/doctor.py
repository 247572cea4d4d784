"""`hands doctor`: is everything as a start needs it, and what to do where it is not.

Owns its flags and the layout. May not examine anything itself: that is `hands.runtime.doctor`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hands.cli.output import ExitCode, JsonFlag, members, print_json, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, IntentsFlag, StateFlag


def doctor(
    *,
    config: ConfigFlag = DEFAULT_CONFIG,
    limits: Annotated[Path, typer.Option(help="The limits file.")] = Path("config/risk_limits.toml"),
    intents: IntentsFlag = None,
    state: StateFlag = None,
    alpaca_url: Annotated[str | None, typer.Option(help="As for `hands run`.")] = None,
    symbols: Annotated[str | None, typer.Option(help="As for `hands run`.")] = None,
    live: Annotated[str | None, typer.Option(metavar="ACCOUNT_NUMBER", help="As for `hands run`.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing of the venue.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Examine files, folders, users, machine, account and clock as `hands run` with the same flags would meet them.

    Changes nothing and shows no credentials. Exit 1 where something fails; what is only warned of is no reason.

    Example: hands doctor --live 123456789
    """
    from hands.runtime.config import Options
    from hands.runtime.doctor import examine
    from hands.runtime.machine import Level

    options = Options(
        config=config,
        limits=limits,
        intents=intents,
        state=state,
        alpaca_url=alpaca_url,
        symbols=None if symbols is None else members(symbols),
        live=live,
    )
    lines = []
    for line in examine(options, connect=not offline):
        lines.append(line)
        if not as_json:
            cure = f"\n{'':23}-> {line.cure}" if line.cure and line.level is not Level.OK else ""
            say(f"{line.level:4}  {line.what:16} {line.said}{cure}")
    failed = sum(line.level is Level.FAIL for line in lines)
    warned = sum(line.level is Level.WARN for line in lines)
    if as_json:
        shown = [
            {"check": line.what, "status": str(line.level), "message": line.said, "do": line.cure or None}
            for line in lines
        ]
        print_json({"ok": not failed, "failed": failed, "warned": warned, "checks": shown})
    else:
        say(f"{len(lines)} checks, {failed} failed, {warned} to look at")
    raise typer.Exit(int(ExitCode.NEGATIVE if failed else ExitCode.FINE))
