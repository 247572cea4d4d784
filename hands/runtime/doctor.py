"""The doctor: looks at everything that a start depends on, and says of each thing whether it is well and what cures it.

Owns the questions. May not change anything, and may not keep anything open: the one request for the account and the one
for the venue's clock are all that leaves the machine. The one idea: an examination goes on where a start would stop, so
that everything that is wrong is said at once. Credentials are used and never shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from hands.core.units import NS_PER_MS, NS_PER_S
from hands.core.vocab import Venue
from hands.intake.permissions import OWN_FOLDERS, brains, change_risks, drop_folder_risks, may_drop, person
from hands.runtime import machine
from hands.runtime.beat import watchdog_beside
from hands.runtime.config import Config, ConfigError, Options, read_config, unsafe
from hands.runtime.logs import struck_out
from hands.runtime.machine import Level, Line
from hands.venues.alpaca.endpoints import PAPER_HOST, origin_of
from hands.venues.alpaca.interview import Interview, interview

NO_KEYS = {"APCA_API_KEY_ID": "-", "APCA_API_SECRET_KEY": "-"}
"""Stands for credentials that are missing, so that everything else can be examined."""


def examine(
    options: Options, environ: Mapping[str, str] = os.environ, *, connect: bool = True
) -> Iterator[Line]:
    """Yield a line for each thing; `connect` False asks nothing of the venue."""
    yield machine.python()
    yield from machine.packages()
    yield machine.sqlite()
    yield machine.compiled_code()
    yield machine.open_files()
    config, found = _configuration(options, environ)
    yield from found
    if config is None:
        return
    yield from machine.disk(config.state)
    yield from machine.mounts((config.state, config.intents))
    yield machine.file_events(2 + len(config.agents))
    yield machine.state_directory(config.state)
    yield _watchdog(config)
    yield from _permissions(config, options)
    yield _halt(config)
    yield from _agents(config)
    keys = _credentials(config, environ)
    yield keys
    if connect and keys.level is not Level.FAIL:
        yield from _venue(config)


# --- the configuration -----------------------------------------------------------------------------------------


def _configuration(options: Options, environ: Mapping[str, str]) -> tuple[Config | None, list[Line]]:
    """Return the configuration, where it can be used but for missing credentials, and what is to be said of it."""
    try:
        config = read_config(options, environ)
    except ConfigError as error:
        others = [problem for problem in error.problems if not problem.startswith("APCA_")]
        if others:
            missing = not (options.config.exists() and options.limits.exists())
            cure = "hands init makes what is missing of it" if missing else "correct it"
            return None, [Line("configuration", Level.FAIL, problem, cure) for problem in others]
        try:
            config = read_config(options, {**environ, **NO_KEYS})
        except ConfigError as worse:
            return None, [Line("configuration", Level.FAIL, problem) for problem in worse.problems]
    if config.venue is Venue.LIVE and config.live is None:
        return config, [Line("configuration", Level.FAIL, reason) for reason in unsafe(config)]
    said = f"{options.config}; {options.limits}, sha256 {config.limits.sha256[:12]}"
    return config, [Line("configuration", Level.OK, said)]


# --- who may do what -------------------------------------------------------------------------------------------


def _permissions(config: Config, options: Options) -> Iterator[Line]:
    """The drop folder is for dropping only; limits, configuration and state are nobody else's."""
    bad = Level.FAIL if config.venue is Venue.LIVE else Level.WARN
    cure = "hands init puts it right"
    try:
        risks = drop_folder_risks(config.intents)
        missing = [name for name in ("", *OWN_FOLDERS) if not (config.intents / name).is_dir()]
        people = brains(config.intents, config.agents)
        changeable = change_risks((options.limits, options.config, config.state), people)
    except OSError as error:
        yield Line("drop folder", Level.FAIL, f"{error.filename}: {error.strerror}", cure)
        return
    yield from (Line("drop folder", bad, risk, cure) for risk in risks)
    if missing:
        made = "not there yet: " + ", ".join(str(config.intents / name) for name in missing)
        yield Line("drop folder", Level.WARN, made, "hands init, or the first start, makes it")
    elif not risks:
        yield Line("drop folder", Level.OK, f"{config.intents}: who drops there can do nothing else")
    single = any(who.uid == os.geteuid() for who in people)
    if single and config.venue is Venue.SIM:
        said = "the Brain has no user of its own, which is well on the simulator and refused with real money"
        yield Line("limits, state", Level.OK, said)
    elif single:
        said = "the Brain has no user of its own: it could change limits, configuration and state"
        yield Line("limits, state", bad, said, "sudo hands init --brain-user USER")
    else:
        yield from (Line("limits, state", bad, risk) for risk in changeable)
        if not changeable:
            names = ", ".join(who.name for who in people)
            yield Line("limits, state", Level.OK, f"out of reach of who drops documents ({names})")


def _watchdog(config: Config) -> Line:
    """Whether the second process looks after this directory."""
    found = watchdog_beside(config.state)
    if found == "alive":
        return Line("watchdog", Level.OK, "it looks after this state directory")
    said = f"{'none runs' if found == 'absent' else 'it has stopped'}: an engine that dies leaves only what rests at the venue"
    level = Level.OK if config.venue is Venue.SIM else Level.WARN
    return Line("watchdog", level, said, "hands watchdog, as a service of its own (deploy/)")


def _halt(config: Config) -> Line:
    halt = config.intents / "HALT"
    if os.path.lexists(halt):
        return Line(
            "halt", Level.WARN, f"{halt} is there: nothing will be entered", f"rm {halt}; hands resume"
        )
    return Line("halt", Level.OK, "no HALT file")


def _agents(config: Config) -> Iterator[Line]:
    """Each agent's user reaches its own folder, and no other agent's user does."""
    for agent, uid in sorted(config.agents.items()):
        folder = config.intents if agent == "default" else config.intents / "agents" / agent
        name = f"agent {agent}"
        if uid is None:
            said = "no user is named for it: whoever may write into its folder is this agent"
            yield Line(name, Level.WARN, said, f'user = "..." in [agents.{agent}]')
        elif uid != os.geteuid() and not may_drop(folder, person(uid)):
            cure = f"sudo hands init --{'brain-user' if agent == 'default' else f'agent {agent} --user'} {person(uid).name}"
            yield Line(name, Level.WARN, f"{person(uid).name} cannot drop into {folder}", cure)
        else:
            others = [
                person(other).name
                for other in {*config.agents.values()} - {uid, None, 0}
                if other is not None and agent != "default" and may_drop(folder, person(other))
            ]
            if others:
                said = f"{', '.join(others)} may drop there too; such files are refused"
                yield Line(name, Level.WARN, said, f"chmod o-w {folder}, or another group")
            else:
                yield Line(name, Level.OK, f"{folder} is {person(uid).name}'s")


# --- the venue -------------------------------------------------------------------------------------------------


def _credentials(config: Config, environ: Mapping[str, str]) -> Line:
    """Whether there are keys, and of the kind that the host takes; of which kind they are, their first letters say."""
    host = origin_of(config.endpoints.trading).host
    if config.venue is Venue.SIM:
        return Line(
            "credentials", Level.OK, "the simulator's own" if not environ.get("APCA_API_KEY_ID") else "given"
        )
    missing = [name for name in NO_KEYS if not environ.get(name)]
    if missing:
        said = f"{' and '.join(missing)}: not in the environment"
        return Line("credentials", Level.FAIL, said, "export them; Hands reads them from nowhere else")
    kind = {"PK": "paper", "AK": "live"}.get(environ["APCA_API_KEY_ID"][:2])
    wanted = "paper" if host == PAPER_HOST else "live"
    if kind is not None and kind != wanted:
        said = f"a {kind} key for {host}, which takes {wanted} keys"
        return Line(
            "credentials", Level.FAIL, said, f"take a {wanted} key, or APCA_API_BASE_URL of the {kind} host"
        )
    return Line("credentials", Level.OK, f"there, for {host}")


def _venue(config: Config) -> Iterator[Line]:
    """Ask the venue who we are there and what time it is."""
    host = origin_of(config.endpoints.trading).authority
    try:
        found = interview(config.endpoints, config.credentials, config.settings.venue.request_timeout_s)
    except OSError as error:
        keys = config.credentials.secret, config.credentials.key_id
        said = struck_out(f"{host}: {error}", keys)  # a proxy may send back what it was sent
        yield Line("venue", Level.FAIL, said, "check the network and the credentials")
        return
    yield Line(
        "venue", Level.OK, f"{host} answered within {found.round_trip_ns // NS_PER_MS} ms ({config.venue})"
    )
    yield _account(config, found)
    yield _clock(config, found)


def _account(config: Config, found: Interview) -> Line:
    account = found.account
    number = account.account_number
    if config.live is not None and config.live != number:
        return Line("account", Level.FAIL, f"{number} is not --live {config.live}")
    bound = machine.bound_account(config.state)
    if bound not in (None, number):
        said = f"{config.state} belongs to account {bound}, not to {number}"
        return Line("account", Level.FAIL, said, "another --state, or the other account's keys")
    if account.trading_blocked or account.account_blocked or account.suspended_by_user:
        return Line("account", Level.FAIL, f"{number}: the venue has blocked trading on it", "ask the broker")
    if account.status != "ACTIVE":
        return Line("account", Level.FAIL, f"{number} is {account.status or 'not active'}", "ask the broker")
    lacking = []
    if account.crypto_status not in ("", "ACTIVE") and any("/" in symbol for symbol in config.limits.allow):
        lacking.append(f"crypto is {account.crypto_status}, but coins are on the allow-list")
    if config.limits.allow_short and not account.shorting_enabled:
        lacking.append("it may not sell short, but allow_short is true")
    if lacking:
        return Line("account", Level.WARN, f"{number}: {'; '.join(lacking)}", "such intents will be denied")
    return Line(
        "account",
        Level.OK,
        f"{number} is active" + ("" if bound is None else ", as the state directory says"),
    )


def _clock(config: Config, found: Interview) -> Line:
    most, ahead_ns = config.limits.hard.clock_skew_max_ms, found.ahead_ns
    off_ns = max(0, abs(ahead_ns) - found.round_trip_ns // 2)  # what the way may have taken is no skew
    said = f"{abs(ahead_ns) / NS_PER_S:.3f} s {'ahead of' if ahead_ns > 0 else 'behind'} the venue's"
    if off_ns > most:
        return Line(
            "clock", Level.FAIL, f"{said}; clock_skew_max_ms is {most // NS_PER_MS}", "run an NTP client"
        )
    return Line("clock", Level.WARN if 4 * off_ns > most else Level.OK, said)
