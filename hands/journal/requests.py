"""Requests: every request that left, held against the command it belongs to.

Owns which commands still wait to be sent. May not know how the venue writes a request: that is passed in. The one idea:
the encoder is a function of the command and of few settings, so whatever was put on the wire can be made again; a setting
that is not in the record must at least be the same for a whole session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hands.core.commands import AnyCommand, CancelOrder, QueryOrder, ReplaceOrder, SubmitEntry, SubmitExit
from hands.core.events import RequestFailed, RequestKind, RequestSent

Request = SubmitEntry | SubmitExit | CancelOrder | ReplaceOrder | QueryOrder
Encoder = Callable[[Request], bytes]
"""Method, path and body of a request, as `RequestSent.wire` has them."""


class Unlike(NamedTuple):
    """What was sent, and what its command makes."""

    sent: bytes
    made: bytes


class Requests:
    """The commands of one session that have not been sent yet, and what was.

    `encoders`: one per setting there can be; those that have made something else than was sent drop out.
    """

    def __init__(self, encoders: Sequence[Encoder], *, is_whole: bool) -> None:
        """`is_whole`: the session is run from its beginning, so that no request can be of an unknown command."""
        self.compared = 0
        self.of_unknown_commands = 0
        self._encoders = list(encoders)
        self._is_whole = is_whole
        self._waiting: dict[tuple[RequestKind, str], deque[Request]] = {}

    def note(self, commands: Sequence[AnyCommand]) -> None:
        """Note what was asked for."""
        for command in commands:
            kind = _KINDS.get(type(command))
            if kind is not None:
                assert isinstance(command, Request)
                self._waiting.setdefault((kind, _name(command)), deque()).append(command)

    def failed(self, event: RequestFailed) -> None:
        """Note that a request never left."""
        if not event.may_have_been_sent:
            self._take(event.kind, event.client_order_id)

    def sent(self, event: RequestSent) -> Unlike | None:
        """Return how a request differs from what its command makes, None where it does not."""
        if not event.wire:
            return None  # recorded by a version that did not keep it
        command = self._take(event.kind, event.client_order_id)
        if command is None:
            if self._is_whole:
                return Unlike(event.wire, b"")
            self.of_unknown_commands += 1
            return None
        made = [(encoder, encoder(command)) for encoder in self._encoders]
        alike = [encoder for encoder, wire in made if wire == event.wire]
        if not alike:
            return Unlike(event.wire, made[0][1])
        self._encoders = alike
        self.compared += 1
        return None

    def _take(self, kind: RequestKind, name: str) -> Request | None:
        waiting = self._waiting.get((kind, name))
        if not waiting:
            return None
        command = waiting.popleft()
        if not waiting:
            del self._waiting[kind, name]
        return command


_KINDS: dict[type[AnyCommand], RequestKind] = {
    SubmitEntry: RequestKind.SUBMIT,
    SubmitExit: RequestKind.SUBMIT,
    CancelOrder: RequestKind.CANCEL,
    ReplaceOrder: RequestKind.REPLACE,
    QueryOrder: RequestKind.QUERY,
}


def _name(command: Request) -> str:
    match command:
        case SubmitEntry(entry=order) | SubmitExit(order=order):
            return order.client_order_id
        case _:
            return command.client_order_id
