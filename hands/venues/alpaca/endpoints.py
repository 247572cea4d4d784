"""Where the venue is and how we prove who we are.

Owns every address and the credentials. The one idea: one base URL (the simulator) means everything lives on
it; otherwise the venue's own hosts, of which only the trading one differs between paper and live. A secret is
never part of a `repr`, and never travels in clear text to another machine.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

from hands.core.vocab import Venue

PAPER_HOST = "paper-api.alpaca.markets"
LIVE_HOST = "api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
STREAM_URL = "wss://stream.data.alpaca.markets"
CRYPTO_PATH = "/v1beta3/crypto/us"


class Feed(StrEnum):
    """Which stream of US equities is read: one exchange, the consolidated tape, or the venue's test symbol."""

    IEX = "iex"
    SIP = "sip"
    TEST = "test"


class EndpointError(ValueError):
    """An address that cannot be a venue's, or that would send the credentials in clear text."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One server as a socket needs it."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """The `Host` header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Every address of one venue: two REST bases and three websocket URLs, none with a trailing slash."""

    trading: str
    data: str
    trade_stream: str
    equity_stream: str
    crypto_stream: str
    feed: Feed = Feed.IEX

    @classmethod
    def of(cls, base_url: str | None = None, *, live: bool = False, feed: Feed = Feed.IEX) -> Endpoints:
        """Return the endpoints of `base_url`, or of the venue's paper (`live`: live) account when it is None.

        A `base_url` of the venue's own trading hosts means that host with the venue's data hosts; any other
        serves everything, as the simulator does. A trailing `/` or `/v2` is forgiven.

        Raises:
            EndpointError: not an http(s) URL of a bare host, or plain http to another machine.
        """
        if base_url is None:
            base_url = f"https://{LIVE_HOST if live else PAPER_HOST}"
        parts = _parsed(base_url)
        base = f"{parts.scheme}://{parts.netloc}"
        stream = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}"
        official = parts.hostname in {PAPER_HOST, LIVE_HOST}
        data_stream = STREAM_URL if official else stream
        return cls(
            trading=base,
            data=DATA_URL if official else base,
            trade_stream=f"{stream}/stream",
            equity_stream=f"{data_stream}/v2/{feed}",
            crypto_stream=f"{data_stream}{CRYPTO_PATH}",
            feed=feed,
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair; the secret is kept out of every text this object can turn into."""

    key_id: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, value in (("key id", self.key_id), ("secret", self.secret)):
            if not value or not value.isascii() or not value.isprintable() or " " in value:
                raise EndpointError(f"the {name} is empty or holds something other than printable characters")

    @property
    def headers(self) -> dict[str, str]:
        """The two request headers of the venue's REST interface."""
        return {"APCA-API-KEY-ID": self.key_id, "APCA-API-SECRET-KEY": self.secret}


def origin_of(url: str) -> Origin:
    """Return host, port and TLS of an http(s) or ws(s) URL. Raises `EndpointError`."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.scheme not in {"http", "https", "ws", "wss"}:
        raise EndpointError(f"{url[:200]!r} is not an http(s) or ws(s) URL")
    tls = parts.scheme in {"https", "wss"}
    return Origin(parts.hostname, parts.port or (443 if tls else 80), tls)


def venue_of(endpoints: Endpoints) -> Venue:
    """Return what an order sent there would be: an exercise, a paper order, or (anything unknown) real money."""
    host = origin_of(endpoints.trading).host
    if is_loopback(host):
        return Venue.SIM
    return Venue.PAPER if host == PAPER_HOST else Venue.LIVE


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, by its name or its address (no name is looked up)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parsed(base_url: str) -> SplitResult:
    parts = urlsplit(base_url)
    shown = repr(base_url[:200]) if "@" not in base_url else "the base URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise EndpointError(f"{shown} is not a URL like https://{PAPER_HOST}")
    if parts.username is not None or parts.password is not None:
        raise EndpointError("the base URL holds a user or password; credentials come from the environment")
    if parts.path.rstrip("/") not in {"", "/v2"} or parts.query or parts.fragment:
        raise EndpointError(f"{shown} has a path or query; only scheme, host and port are expected")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise EndpointError(f"{shown} would carry the credentials in clear text; use https")
    try:
        _ = parts.port
    except ValueError:
        raise EndpointError(f"{shown} has no valid port") from None
    return parts
