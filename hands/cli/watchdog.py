"""`hands watchdog`: the second process as a command.

Owns its flags, its events on stdout and its exit codes. May not judge a beat or a position: that is `hands.watchdog`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from hands.cli.output import ExitCode, JsonFlag, refuse_start, say


def watchdog(
    *,
    state: Annotated[Path | None, typer.Option(help="The engine's state directory [hands.toml].")] = None,
    config: Annotated[Path, typer.Option(help="The engine's hands.toml.")] = Path("config/hands.toml"),
    limits: Annotated[Path, typer.Option(help="The engine's limits file.")] = Path("config/risk_limits.toml"),
    alpaca_url: Annotated[str | None, typer.Option(help="As for `hands run`.")] = None,
    live: Annotated[str | None, typer.Option(metavar="ACCOUNT_NUMBER", help="As for `hands run`.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, do what is to be done, and end.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Watch the engine's heartbeat; while it is silent, protect or close what it holds, and open nothing.

    Runs until Ctrl-C or SIGTERM. --json: one line on stdout for everything it notices and does. --once: exit 1 where
    something is left unprotected. Credentials come from the environment, as for `hands run`.

    Example: hands watchdog --state var/paper
    """
    from hands.core.units import NS_PER_MS
    from hands.runtime.config import ConfigError, Options, Unsafe, load
    from hands.runtime.logs import set_up_logging
    from hands.watchdog.guard import LockedElsewhere, Watchdog, WrongAccount

    def tell(event: dict[str, object]) -> None:
        if as_json:
            typer.echo(json.dumps(event, separators=(",", ":")))
        elif event["event"] == "ready":
            say(f"ready: watching {event['state_dir']}")

    options = Options(config=config, limits=limits, state=state, alpaca_url=alpaca_url, live=live)
    try:
        known = load(options)
    except ConfigError as error:
        refuse_start(ExitCode.USAGE, error.problems, as_json=as_json)
    except Unsafe as error:
        refuse_start(ExitCode.UNSAFE, [str(error)], as_json=as_json)
    set_up_logging(as_json=as_json, secrets=(known.credentials.secret, known.credentials.key_id))
    venue = known.settings.venue
    dog = Watchdog(
        known.state,
        known.endpoints,
        known.credentials,
        known.limits,
        late_ns=known.settings.watchdog.late_ms * NS_PER_MS,
        close_intent=venue.close_intent,
        requests_per_minute=venue.requests_per_minute,
        timeout_s=min(venue.request_timeout_s, 2.0),
        account=live,
        say=tell,
    )

    async def work() -> bool:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        tell({"event": "ready", "state_dir": str(known.state), "pid": os.getpid()})
        if once:
            return await dog.once()
        await dog.watch()
        return True

    try:
        well = asyncio.run(work())
    except (LockedElsewhere, WrongAccount) as error:
        refuse_start(ExitCode.UNSAFE, [str(error)], as_json=as_json)
    except OSError as error:
        refuse_start(ExitCode.USAGE, [f"{known.state}: {error.strerror or error}"], as_json=as_json)
    except asyncio.CancelledError:
        well = True
    raise typer.Exit(int(ExitCode.FINE if well else ExitCode.NEGATIVE))
