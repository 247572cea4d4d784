"""`hands init`: sets up configuration, drop folder and state directory, and gives a Brain a folder to drop into.

Owns its flags and what is printed. May not change anything itself: that is `hands.runtime.set_up`.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, IntentsFlag, StateFlag, intents_folder, state_folder

AGENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
DEFAULT_AGENT = "default"


def init(
    *,
    brain_user: Annotated[
        str | None, typer.Option(help="The Unix user of a Brain that drops into intents/ itself.")
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="Make this agent's own folder, intents/agents/NAME.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="The Unix user of --agent.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Who may drop, where it is not that user's first group.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="The user that Hands runs as; as root.")] = None,
    config: ConfigFlag = DEFAULT_CONFIG,
    limits: Annotated[Path, typer.Option(help="The limits file.")] = Path("config/risk_limits.toml"),
    intents: IntentsFlag = None,
    state: StateFlag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make what Hands needs, with owners and modes by which a Brain can drop documents and do nothing else.

    No file is ever overwritten, and doing it again changes nothing. A Brain belongs under a Unix user of its own; giving
    it a folder takes root, or membership in its group.

    Example: sudo hands init --owner hands --agent momentum --user brain
    """
    from hands.intake.permissions import person
    from hands.runtime.set_up import SetUpError, agent_folder, configuration, folders, set_up

    if user is not None and agent is None:
        fail(
            ExitCode.USAGE,
            "--user is the user of an --agent; without one it is --brain-user",
            as_json=as_json,
        )
    if agent is not None and not AGENT.match(agent):
        fail(
            ExitCode.USAGE,
            f"--agent {agent!r}: lower case letters, digits, - and _, at most 64",
            as_json=as_json,
        )
    if agent == DEFAULT_AGENT:
        fail(ExitCode.USAGE, "the agent default drops into intents/ itself: --brain-user", as_json=as_json)
    if group is not None and brain_user is None and user is None:
        fail(ExitCode.USAGE, "--group is the group of a --brain-user or a --user", as_json=as_json)
    gids = {name: _gid(name, group, as_json=as_json) for name in (brain_user, user) if name is not None}
    runs_as = person(os.geteuid() if owner is None else _uid(owner, as_json=as_json))
    try:
        steps = list(set_up(configuration(config, limits), runs_as, dry_run=dry_run))
        var = state_folder(config, state, as_json=as_json)
        place = intents_folder(config, var, intents, as_json=as_json)
        wanted = folders(place, var, gids.get(brain_user or ""))
        if agent is not None:
            wanted.append(agent_folder(place, agent, gids.get(user or "")))
        steps += set_up(wanted, runs_as, dry_run=dry_run)
    except SetUpError as error:
        fail(ExitCode.NEGATIVE, str(error), as_json=as_json)
    missing = [] if brain_user is None else _missing(limits, DEFAULT_AGENT, brain_user)
    missing += [] if agent is None else _missing(limits, agent, user)
    if as_json:
        shown = [{"path": step.path, "done": step.detail} for step in steps]
        print_json({"ok": True, "dry_run": dry_run, "steps": shown, "add_to_limits": missing})
        return
    verb = "would be " if dry_run else ""
    say(
        "\n".join(
            f"{step.path}: {verb + step.detail if step.detail else 'as it should be'}" for step in steps
        )
    )
    if missing:
        say(
            "\n".join(
                [f"Now let {limits} say it too; a daemon that runs goes by it after a restart:", "", *missing]
            )
        )
    say("`hands doctor` checks all of it." if not dry_run else "Nothing was changed.")


def _uid(name: str, *, as_json: bool) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        fail(ExitCode.USAGE, f"there is no user {name!r} on this machine", as_json=as_json)


def _gid(user: str, group: str | None, *, as_json: bool) -> int:
    """Return the group that may drop: as said, else the user's first one."""
    from hands.intake.permissions import person

    who = person(_uid(user, as_json=as_json))
    if group is None:
        return pwd.getpwnam(user).pw_gid
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        fail(ExitCode.USAGE, f"there is no group {group!r} on this machine", as_json=as_json)
    if gid not in who.gids:
        cure = f"sudo usermod --append --groups {group} {user}"
        fail(ExitCode.USAGE, f"{user} is not in the group {group}: {cure}", as_json=as_json)
    return gid


def _missing(limits: Path, agent: str, user: str | None) -> list[str]:
    """Return the lines by which the limits file would know `agent`, and take its documents from `user` only."""
    try:
        agents = tomllib.loads(limits.read_text("utf-8")).get("agents", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        agents = {}
    table = agents.get(agent) if isinstance(agents, dict) else None
    if user is None:
        return [] if isinstance(table, dict) else [f"[agents.{agent}]"]
    if isinstance(table, dict):
        return [] if table.get("user") == user else [f'user = "{user}"    # in [agents.{agent}]']
    return [f"[agents.{agent}]", f'user = "{user}"']
