"""`python -m hands.sim`: the simulator on its own, without the rest of the command line."""

from __future__ import annotations

import json
from typing import Annotated

import typer
import uvloop

from hands.sim.app import DEFAULT_SYMBOLS, ConfigError, SimConfig, serve
from hands.sim.file_rows import FileError
from hands.sim.tape import TapeError


def _ready(url: str) -> None:
    typer.echo(json.dumps({"event": "ready", "url": url}, separators=(",", ":")))


def main(
    *,
    listen: str = "127.0.0.1:0",
    tape: Annotated[
        list[str] | None, typer.Option(help="synthetic, manual, or paths of recorded files")
    ] = None,
    speed: float = 1.0,
    session: str = "always",
    symbols: str = ",".join(DEFAULT_SYMBOLS),
    cash: str = "100000",
    seed: int = 0,
    fills: str = "realistic",
    rate_limit: int = 0,
) -> None:
    """Serve a simulated venue until SIGTERM; the ready line carries its URL."""
    config = SimConfig(
        listen=listen,
        tape=tuple(tape or ("synthetic",)),
        speed=speed,
        session=session,
        symbols=tuple(filter(None, symbols.split(","))),
        cash=cash,
        seed=seed,
        fills=fills,
        rate_limit=rate_limit,
    )
    try:
        uvloop.run(serve(config, _ready))
    except (ConfigError, TapeError, FileError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
