"""Where a client command finds the daemon and the drop folder.

Owns the flags `--config`, `--state` and `--intents` of client commands and what they default to. May not check the
configuration: that is the daemon's business at start-up. The one idea: what a running daemon says of itself comes
before what a file says, so `hands send` drops where the daemon looks.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from hands.cli.output import ExitCode, fail
from hands.runtime.control import NoDaemon, call, noted_drop_folder

ConfigFlag = Annotated[Path, typer.Option("--config", help="hands.toml, where the folders stand.")]
StateFlag = Annotated[Path | None, typer.Option("--state", help="The daemon's state directory.")]
IntentsFlag = Annotated[Path | None, typer.Option("--intents", help="The drop folder.")]
DEFAULT_CONFIG = Path("config/hands.toml")


DEFAULT_STATE, DEFAULT_INTENTS = Path("var"), Path("intents")


def _document(config: Path) -> dict[str, Any] | str:
    """Return what a configuration file says (nothing where there is none), or why it cannot be read."""
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return f"{config}: {error}"


def unreadable(config: Path) -> str | None:
    """Return why a configuration file cannot be read, None where it can."""
    document = _document(config)
    return document if isinstance(document, str) else None


def _folder(config: Path, name: str, default: Path, *, as_json: bool) -> Path:
    document = _document(config)
    if isinstance(document, str):
        fail(ExitCode.USAGE, document, as_json=as_json)
    folders = document.get("folders", {})
    found = folders.get(name) if isinstance(folders, dict) else None
    return Path(found) if isinstance(found, str) else default


def setting(config: Path, section: str, name: str, *, as_json: bool) -> Any:
    """Return one value of a configuration file as it stands there, None where it does not."""
    document = _document(config)
    if isinstance(document, str):
        fail(ExitCode.USAGE, document, as_json=as_json)
    found = document.get(section, {})
    return found.get(name) if isinstance(found, dict) else None


def state_folder(config: Path, state: Path | None, *, as_json: bool) -> Path:
    return state if state is not None else _folder(config, "state", DEFAULT_STATE, as_json=as_json)


def intents_folder(config: Path, state: Path, intents: Path | None, *, as_json: bool) -> Path:
    """Return the drop folder: as said, else as the daemon on `state` last noted it, else as the file says."""
    if intents is not None:
        return intents
    return noted_drop_folder(state) or _folder(config, "intents", DEFAULT_INTENTS, as_json=as_json)


def ask(
    state: Path,
    request: dict[str, Any],
    *,
    as_json: bool,
    timeout_s: float = 5.0,
    instead: str | None = None,
) -> dict[str, Any]:
    """Return the daemon's answer; end with exit code 3 where there is no daemon, 1 where it says no.

    `instead` is what can be done without one. A request that cannot be meant ends with 2, all problems at once.
    """
    try:
        answer = call(state, request, timeout_s)
    except NoDaemon as error:
        fail(ExitCode.UNSAFE, [str(error), *([instead] if instead else [])], as_json=as_json)
    if not answer.get("ok"):
        code = ExitCode.USAGE if answer.get("usage") else ExitCode.NEGATIVE
        problems = answer.get("problems") or [str(answer.get("error", "the daemon refused"))]
        fail(code, problems, as_json=as_json)
    return answer
