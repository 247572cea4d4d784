"""What the daemon is told: command line, hands.toml, the limits file and the environment, checked all at once.

Owns the reading of both files and every start-up refusal that needs no network. May not connect to anything.
`ConfigError` carries every problem found; `Unsafe` is a refusal to act on an account that was not meant.
"""

from __future__ import annotations

import os
import pwd
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hands.core.indicators import ALL_SYMBOLS, PERIODS, check_periods
from hands.core.limits import LimitsError, LimitsFile, read_limits
from hands.core.tightening import narrowed
from hands.core.units import NS_PER_S
from hands.core.vocab import Venue
from hands.intake.permissions import brains, change_risks, drop_folder_risks
from hands.runtime.limits_file import LimitsUnreadable, read_limits_text
from hands.runtime.set_up import shipped
from hands.venues.alpaca.endpoints import Credentials, EndpointError, Endpoints, Feed, venue_of

ROLL_DAYS_BACK = 4
ROLL_DAYS_AHEAD = 800
BAR_LONGEST_S = 7 * 86_400


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unsafe(Exception):  # noqa: N818  (a refusal, named for what is the case)
    """Starting would be unsafe: a live host without --live, the wrong account, a state directory in use."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; None where it says nothing."""

    config: Path
    limits: Path
    intents: Path | None = None
    state: Path | None = None
    alpaca_url: str | None = None
    symbols: tuple[str, ...] | None = None
    dry_run: bool = False
    live: str | None = None
    log_json: bool = False


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class VenueSection(_Section):
    feed: str = Field(pattern="^(iex|sip|test)$")
    order_connections: int = Field(ge=1, le=16)
    request_timeout_s: float = Field(gt=0, le=60)
    requests_per_minute: int = Field(ge=20, le=100_000)
    mute_after_s: float = Field(gt=0, le=3600)
    close_intent: bool
    rejections_latch: int = Field(ge=1, le=1_000_000)


class FoldersSection(_Section):
    intents: str = Field(min_length=1)
    state: str = Field(min_length=1)


class JournalSection(_Section):
    durability: str = Field(pattern="^(os|disk)$")
    segment_mb: float = Field(gt=0, le=4096)
    segment_s: float = Field(ge=60, le=86_400)
    keep_days: float = Field(gt=0)
    keep_gb: float = Field(gt=0)


class MarketSection(_Section):
    audit_s: float = Field(ge=0.5, le=3600)
    intervals_s: list[Annotated[int, Field(gt=0, le=BAR_LONGEST_S)]] = Field(min_length=1, max_length=8)
    suspicious_jump: float = Field(gt=0, le=1)
    periods: dict[str, dict[str, int | float]]

    @field_validator("intervals_s")
    @classmethod
    def _once_each(cls, intervals_s: list[int]) -> list[int]:
        if len(set(intervals_s)) != len(intervals_s):
            raise ValueError(f"an interval twice among {intervals_s}")
        return intervals_s

    @field_validator("periods")
    @classmethod
    def _possible(cls, periods: dict[str, dict[str, int | float]]) -> dict[str, dict[str, int | float]]:
        missing = [period.name for period in PERIODS if period.name not in periods.get(ALL_SYMBOLS, {})]
        if missing:
            raise ValueError(f'[market.periods."{ALL_SYMBOLS}"] does not say {", ".join(missing)}')
        check_periods(periods)
        return periods

    def periods_of(self, symbols: Sequence[str]) -> dict[str, dict[str, int | float]]:
        """Return the periods that `symbols` have, those of all among them."""
        return {name: chosen for name, chosen in self.periods.items() if name in (ALL_SYMBOLS, *symbols)}


class PollSection(_Section):
    account_s: float = Field(gt=0, le=600)
    session_s: float = Field(gt=0, le=3600)
    truth_s: float = Field(gt=0, le=3600)


class WatchdogSection(_Section):
    late_ms: int = Field(ge=300, le=60_000)


class Settings(_Section):
    """hands.toml, every key required: a file that says nothing of a thing is a file that was not read."""

    venue: VenueSection
    folders: FoldersSection
    journal: JournalSection
    market: MarketSection
    poll: PollSection
    watchdog: WatchdogSection


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the daemon needs, checked."""

    settings: Settings
    limits: LimitsFile
    limits_path: Path
    limits_text: str
    symbols: tuple[str, ...] | None
    intents: Path
    state: Path
    endpoints: Endpoints
    credentials: Credentials
    venue: Venue
    rolls_ns: tuple[int, ...]
    agents: dict[str, int | None]
    risks: tuple[str, ...]
    dry_run: bool
    live: str | None
    log_json: bool


def load(options: Options, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the checked configuration.

    Raises:
        ConfigError: with every problem of both files, the command line and the environment.
        Unsafe: a live host without `--live`, or with a Brain that could do more than drop documents.
    """
    config = read_config(options, environ)
    if reasons := unsafe(config):
        raise Unsafe("; ".join(reasons))
    return config


def unsafe(config: Config) -> list[str]:
    """Return why nothing may be started with a configuration, besides what the account will say."""
    if config.venue is not Venue.LIVE:
        return []
    if config.live is None:
        host = config.endpoints.trading.split("//")[-1]
        return [f"{host} is a live host; say --live ACCOUNT_NUMBER if real money is meant"]
    return list(config.risks)


def read_config(options: Options, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration, checked but for whether it is safe to start with it.

    Raises:
        ConfigError: with every problem.
    """
    problems: list[str] = []
    settings = _settings(options.config, problems)
    limits_text = _limits_text(options.limits, problems)
    limits = None if limits_text is None else _limits(options, limits_text, problems)
    rolls = () if limits is None else _rolls(limits, problems)
    agents = {} if limits is None else _agents(limits, problems)
    endpoints = _endpoints(options, settings, environ, problems)
    venue = None if endpoints is None else venue_of(endpoints)
    credentials = _credentials(environ, venue, problems)
    if settings is not None and limits is not None and options.symbols is None:
        strangers = sorted(settings.market.periods.keys() - {ALL_SYMBOLS, *limits.allow})
        problems += [f"market.periods: {symbol} is not among the allowed symbols" for symbol in strangers]
    if settings is not None:
        _folders(*_places(options, settings), problems)
    if (
        problems
        or settings is None
        or limits is None
        or limits_text is None
        or endpoints is None
        or venue is None
        or credentials is None
    ):
        raise ConfigError(problems)
    intents, state = _places(options, settings)
    return Config(
        settings=settings,
        limits=limits,
        limits_path=options.limits.absolute(),
        limits_text=limits_text,
        symbols=options.symbols,
        intents=intents,
        state=state,
        endpoints=endpoints,
        credentials=credentials,
        venue=venue,
        rolls_ns=rolls,
        agents=agents,
        risks=_risks(options.limits, intents, agents, venue),
        dry_run=options.dry_run,
        live=options.live,
        log_json=options.log_json,
    )


def _places(options: Options, settings: Settings) -> tuple[Path, Path]:
    """Return the drop folder and the state directory."""
    intents = options.intents or Path(settings.folders.intents)
    state = options.state or Path(settings.folders.state)
    return intents.absolute(), state.absolute()


def _folders(intents: Path, state: Path, problems: list[str]) -> None:
    """The state directory is ours alone, so it must not lie where agents write."""
    if state.resolve().is_relative_to(intents.resolve()):
        problems.append(f"the state directory {state} must not lie in the drop folder {intents}")


def _read(path: Path, problems: list[str]) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: not readable: {error.strerror if isinstance(error, OSError) else error}")
        return None


def read_settings(path: Path) -> Settings:
    """Return hands.toml at `path`, checked. Raises ConfigError."""
    problems: list[str] = []
    settings = _settings(path, problems)
    if settings is None:
        raise ConfigError(problems)
    return settings


def _settings(path: Path, problems: list[str]) -> Settings | None:
    text = _read(path, problems)
    if text is None:
        return None
    try:
        return Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{path}: {error}")
    except ValidationError as error:
        for item in error.errors(include_url=False):
            where = ".".join(str(part) for part in item["loc"])
            said = f" is missing{_as_shipped(where)}" if item["type"] == "missing" else f": {item['msg']}"
            problems.append(f"{path}: {where}{said}")
    return None


def _as_shipped(where: str) -> str:
    """Return the line to paste for a key of hands.toml that a newer version wants."""
    table, _, key = where.rpartition(".")
    text = shipped("hands.toml").decode()
    if not table:  # a whole section
        section = text.partition(f"\n[{key}]\n")[2].partition("\n[")[0].strip()
        return f"; paste [{key}] and under it: {section}" if section else ""
    section = text.partition(f"\n[{table}]\n")[2].partition("\n[")[0]
    line = next((line for line in section.splitlines() if line.startswith(f"{key} ")), None)
    return "" if line is None else f"; paste into [{table}]: {line}"


def _risks(limits: Path, intents: Path, agents: Mapping[str, int | None], venue: Venue) -> tuple[str, ...]:
    """Return what lets a Brain do more than drop documents: with real money each is a reason not to start."""
    try:
        risks = drop_folder_risks(intents)
        if venue is not Venue.SIM:  # on the simulator everything belongs to whoever tries it out
            risks += change_risks([limits], brains(intents, agents))
    except OSError as error:
        risks = [f"who may write to {error.filename} cannot be seen: {error.strerror}"]
    return tuple(risks)


def _limits_text(path: Path, problems: list[str]) -> str | None:
    try:
        return read_limits_text(path)
    except LimitsUnreadable as error:
        problems.append(f"{path}: {error}")
        return None


def _limits(options: Options, text: str, problems: list[str]) -> LimitsFile | None:
    try:
        limits = read_limits(text)
    except LimitsError as error:
        problems.extend(f"{options.limits}: {problem}" for problem in error.problems)
        return None
    if options.symbols is None:
        return limits
    wider = [symbol for symbol in options.symbols if symbol not in limits.allow]
    if wider:
        problems.append(f"--symbols only narrows [symbols] allow; not allowed there: {', '.join(wider)}")
    if not options.symbols:
        problems.append("--symbols names no symbol")
    twice = sorted({symbol for symbol in options.symbols if options.symbols.count(symbol) > 1})
    if twice:
        problems.append(f"--symbols names a symbol twice: {', '.join(twice)}")
    return narrowed(limits, options.symbols)


def _rolls(limits: LimitsFile, problems: list[str]) -> tuple[int, ...]:
    """Return when trading days begin, as Unix ns, in the zone the limits file names."""
    try:
        zone = ZoneInfo(limits.roll_zone)
    except (ZoneInfoNotFoundError, ValueError):
        problems.append(f"day.roll: unknown time zone {limits.roll_zone!r}")
        return ()
    hour, minute = (int(part) for part in limits.roll_time.split(":"))
    today = datetime.now(UTC).astimezone(zone).date()
    days: list[date] = [today + timedelta(days=n) for n in range(-ROLL_DAYS_BACK, ROLL_DAYS_AHEAD)]
    moments = (datetime.combine(day, time(hour, minute), zone) for day in days)
    return tuple(int(moment.timestamp()) * NS_PER_S for moment in moments)


def _agents(limits: LimitsFile, problems: list[str]) -> dict[str, int | None]:
    agents: dict[str, int | None] = {}
    for name, agent in limits.agents.items():
        try:
            agents[name] = None if agent.user is None else pwd.getpwnam(agent.user).pw_uid
        except KeyError:
            problems.append(f"agents.{name}.user: there is no user {agent.user!r} on this machine")
    return agents


def _endpoints(
    options: Options, settings: Settings | None, environ: Mapping[str, str], problems: list[str]
) -> Endpoints | None:
    base = options.alpaca_url or environ.get("APCA_API_BASE_URL") or None
    feed = Feed(settings.venue.feed) if settings is not None else Feed.IEX
    try:
        return Endpoints.of(base, live=base is None and options.live is not None, feed=feed)
    except EndpointError as error:
        problems.append(str(error))
        return None


def _credentials(environ: Mapping[str, Any], venue: Venue | None, problems: list[str]) -> Credentials | None:
    """Return the keys of the environment; a simulator on this machine needs none (its own are sim/sim)."""
    key, secret = environ.get("APCA_API_KEY_ID"), environ.get("APCA_API_SECRET_KEY")
    if venue is Venue.SIM:
        key, secret = key or "sim", secret or "sim"
    missing = [
        name for name, value in (("APCA_API_KEY_ID", key), ("APCA_API_SECRET_KEY", secret)) if not value
    ]
    if missing or key is None or secret is None:
        problems.append(f"{' and '.join(missing)}: not in the environment")
        return None
    try:
        return Credentials(key, secret)
    except EndpointError as error:
        problems.append(f"APCA credentials: {error}")
        return None


def access(
    alpaca_url: str | None, feed: str, environ: Mapping[str, str] = os.environ
) -> tuple[Endpoints, Credentials]:
    """Return where the venue's data is and the keys to it, for what only reads: no account, no limits.

    Raises:
        ConfigError: with every problem.
    """
    problems: list[str] = []
    try:
        endpoints = Endpoints.of(alpaca_url or environ.get("APCA_API_BASE_URL") or None, feed=Feed(feed))
    except EndpointError as error:
        raise ConfigError([str(error)]) from None
    credentials = _credentials(environ, venue_of(endpoints), problems)
    if credentials is None:
        raise ConfigError(problems)
    return endpoints, credentials
