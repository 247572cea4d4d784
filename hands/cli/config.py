"""`hands config`: every value that a start would go by, and where each came from.

Owns the listing and where in a file a key stands. May not check anything: the configuration is read as `hands run` reads
it. Credentials are said to be there or not, and never shown.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, members, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, IntentsFlag, StateFlag

COMMAND_LINE, ENVIRONMENT, DEFAULT = "command line", "environment", "default"
_TABLE = re.compile(r"\s*\[([^\[\]]+)\]")
_KEY = re.compile(r"\s*(?:\"([^\"]+)\"|([\w-]+))\s*=")


class Value(NamedTuple):
    """One effective value; `source` is the command line, the environment, a file with its line, or the default."""

    key: str
    value: Any
    source: str


def config(
    *,
    config: ConfigFlag = DEFAULT_CONFIG,
    limits: Annotated[Path, typer.Option(help="The limits file.")] = Path("config/risk_limits.toml"),
    intents: IntentsFlag = None,
    state: StateFlag = None,
    alpaca_url: Annotated[str | None, typer.Option(help="As for `hands run`.")] = None,
    symbols: Annotated[str | None, typer.Option(help="As for `hands run`.")] = None,
    live: Annotated[str | None, typer.Option(metavar="ACCOUNT_NUMBER", help="As for `hands run`.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print every effective value and where it came from, as `hands run` with the same flags would use it.

    Example: hands config --symbols AAPL --json
    """
    from hands.runtime.config import ConfigError, Options, read_config
    from hands.runtime.doctor import NO_KEYS

    options = Options(
        config=config,
        limits=limits,
        intents=intents,
        state=state,
        alpaca_url=alpaca_url,
        symbols=None if symbols is None else members(symbols),
        live=live,
    )
    try:
        found = read_config(options, NO_KEYS | {k: v for k, v in os.environ.items() if v})
    except ConfigError as error:
        fail(ExitCode.USAGE, error.problems, as_json=as_json)
    flags: dict[str, Any] = {}
    if intents is not None:
        flags["folders.intents"] = str(found.intents)
    if state is not None:
        flags["folders.state"] = str(found.state)
    if symbols is not None:
        flags["symbols.allow"] = list(found.limits.allow)
    values = [
        Value(key, flags[key], COMMAND_LINE) if key in flags else Value(key, value, source)
        for path in (config, limits)
        for key, value, source in _of_file(path)
    ]
    values += _of_the_rest(found.endpoints.trading, str(found.venue), alpaca_url, live, os.environ)
    if as_json:
        print_json({v.key: {"value": _plain(v.value), "source": v.source} for v in values})
    else:
        say("\n".join(table(("key", "value", "from"), [(v.key, _shown(v.value), v.source) for v in values])))


def _of_the_rest(
    url: str, venue: str, alpaca_url: str | None, live: str | None, environ: Mapping[str, str]
) -> Iterator[Value]:
    """Yield what stands in no file: where the venue is, and whether there are credentials for it."""
    source = COMMAND_LINE if alpaca_url else ENVIRONMENT if environ.get("APCA_API_BASE_URL") else DEFAULT
    yield Value("alpaca_url", url, source)
    yield Value("venue", venue, source)
    yield Value("live", live, DEFAULT if live is None else COMMAND_LINE)
    for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"):
        yield Value(name, "set" if environ.get(name) else "not set", ENVIRONMENT)


def _of_file(path: Path) -> Iterator[Value]:
    """Yield every key of a configuration file, with the line on which it stands."""
    text = path.read_text("utf-8")
    lines = _lines(text)
    for key, value in _flat(tomllib.loads(text), ()):
        line = lines.get(key)
        yield Value(".".join(key), value, str(path) if line is None else f"{path}:{line}")


def _flat(found: Mapping[str, Any], within: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*within, name))
        else:
            yield (*within, name), value


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each `key = value`; those of inline tables and dotted keys are not told apart."""
    within: tuple[str, ...] = ()
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if head := _TABLE.match(line):
            parts = re.findall(r'"([^"]*)"|([\w-]+)', head[1])
            within = tuple(quoted or bare for quoted, bare in parts)
        elif key := _KEY.match(line):
            found[*within, key[1] or key[2]] = number
    return found


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)


def _shown(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(str(member) for member in value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)
