"""The trade stream: what happens to the account's orders, as it happens.

Owns the conversation on `/stream` (authenticate, listen) and the delivery of `OrderReport`s. May not judge,
deduplicate or order them: the venue repeats, omits and reorders, and the core's order table absorbs that.
The one idea: there is no replay, so after every loss the link goes down and up again and the engine asks for
the truth; an update that cannot be read is such a loss.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import orjson

from hands.core.events import AnyEvent, Link
from hands.venues.alpaca.decode import DecodeError, order_report_from, parse_json, shown, slash_forms
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.reconnect import Pace, StandingConnection

STREAM = "trade_updates"


class AuthForm(StrEnum):
    """The two spellings of the first message; the venue accepts both today and is moving to the second."""

    AUTHENTICATE = "authenticate"
    AUTH = "auth"

    @property
    def other(self) -> AuthForm:
        return AuthForm.AUTH if self is AuthForm.AUTHENTICATE else AuthForm.AUTHENTICATE


class TradeStream:
    """Delivers an `OrderReport` for every update of the account's orders, ours or not."""

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        deliver: Callable[[AnyEvent], None],
        clock: Callable[[], int],
        *,
        symbols: Iterable[str] = (),
        auth_form: AuthForm = AuthForm.AUTHENTICATE,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.strange_frames = 0
        self._credentials = credentials
        self._deliver = deliver
        self._clock = clock
        self._slashes = slash_forms(symbols)
        self._auth_form = auth_form
        self._other_form_failed = False
        self._pace = pace if pace is not None else Pace()
        self._connection = StandingConnection(
            endpoints.trade_stream,
            Link.TRADE_UPDATES,
            clock=clock,
            deliver=deliver,
            on_open=self._authenticate,
            on_message=self._take_message,
            pace=self._pace,
            tls=tls,
        )

    async def start(self) -> None:
        """Begin to connect; returns at once. `LinkReport` follows."""
        self._connection.start()

    async def stop(self) -> None:
        """Close the connection; no report comes after this."""
        await self._connection.stop()

    @property
    def is_up(self) -> bool:
        return self._connection.is_up

    def _authenticate(self) -> None:
        key, secret = self._credentials.key_id, self._credentials.secret
        if self._auth_form is AuthForm.AUTH:
            self._send({"action": "auth", "key": key, "secret": secret})
        else:
            self._send({"action": "authenticate", "data": {"key_id": key, "secret_key": secret}})

    def _take_message(self, data: bytes, is_text: bool) -> None:
        del is_text  # paper sends its JSON in binary frames
        try:
            message = parse_json(data)
        except DecodeError as error:
            self.strange_frames += 1
            if data.lstrip()[:1] == b"{":  # else a heartbeat or some such
                self._connection.report_gap(f"a message on the trade stream could not be read: {error}")
            return
        if not isinstance(message, dict):
            self.strange_frames += 1
            return
        stream, body = message.get("stream"), message.get("data")
        if stream == STREAM:
            self._take_update(body, data)
        elif stream == "authorization":
            self._take_authorization(body)
        elif stream == "listening":
            self._take_listening(body)
        elif message.get("action") == "error":
            self._connection.give_up_busy(f"the venue says {_error_text(body)}")
        else:
            self.strange_frames += 1

    def _take_authorization(self, body: Any) -> None:
        if isinstance(body, dict) and body.get("status") == "authorized":
            self._other_form_failed = False
            self._send({"action": "listen", "data": {"streams": [STREAM]}})
            return
        refused = f"the venue did not authorise the trade stream ({self._auth_form})"
        if self._other_form_failed:
            self._connection.give_up(refused, at_least_s=self._pace.refused_s)
        else:
            self._connection.give_up(f"{refused}; the other form is next")
        self._other_form_failed = True
        self._auth_form = self._auth_form.other

    def _take_listening(self, body: Any) -> None:
        streams = body.get("streams") if isinstance(body, dict) else None
        if isinstance(streams, list) and STREAM in streams:
            self._connection.declare_up()
        else:
            reason = "the venue does not let us listen to trade updates"
            self._connection.give_up(reason, at_least_s=self._pace.refused_s)

    def _take_update(self, body: Any, data: bytes) -> None:
        try:
            report = order_report_from(body, self._slashes, self._clock())
        except DecodeError as error:
            self.strange_frames += 1
            self._connection.report_gap(f"a trade update could not be read: {error} in {shown(data)}")
            return
        if report is not None:
            self._deliver(report)

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.send(orjson.dumps(message), text=True)


def _error_text(body: Any) -> str:
    text = body.get("error_message") if isinstance(body, dict) else body
    return repr(str(text)[:200])
