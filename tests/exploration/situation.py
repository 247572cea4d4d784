"""One situation: the engine on its wires, and what may happen next.

Owns the moves: `moves` names every act that is possible, `make` carries one out, `fair_move` is what a world without
faults would do next. May not judge: that is `tests.exploration.explorer`. The one idea: a move is text ("fill entry-1
all"), so a path is a list of lines that can be read, printed and played again.
"""

from __future__ import annotations

import msgspec

from hands.core.events import (
    AssetsReport,
    Link,
    OperatorAction,
    OperatorRequest,
    OrderReport,
    RequestAnswered,
    RequestKind,
    Started,
    TriggersFired,
    TruthReport,
    VenueOrder,
    Wake,
)
from hands.core.state import State, encode
from hands.core.units import NS_PER_S, Ns, Price, Qty, nano
from hands.core.vocab import OrderStatus, Venue
from tests.core.world import ROLL, account, asset, session
from tests.exploration.likeness import Pit, packed
from tests.exploration.wires import (
    CANCEL,
    FAULTS,
    LAG_NS,
    QUERY,
    REPLACE,
    SUBMIT,
    Message,
    Request,
    Wires,
    link_report,
    outline,
    short,
)

S = OrderStatus
WAY_NS = 1_000_000
"""How long a submit is on its way to the venue: a second exit is never of the same moment as the first."""

DOWN_NS = 20 * NS_PER_S
"""How long a process is away that starts late: past the deadline of the entry."""


class Situation(Wires):
    """Everything there is at one moment, and the moves from there."""

    # --- what may happen -------------------------------------------------------------------------------

    def moves(self) -> list[str]:
        """Name every move that is possible now."""
        found = self._restarts() if self.down else self._deliveries()
        found += self._venue_moves()
        if not self.down:
            found += self._engine_moves()
        return found

    def _restarts(self) -> list[str]:
        return ["restart", "restart late"]

    def _deliveries(self) -> list[str]:
        found = []
        if self.stream:
            found.append(f"report {self.stream[0].name}")
            if self.may("duplicate"):
                found.append(f"report and keep {self.stream[0].name}")
            if self.may("reorder") and len(self.stream) > 1:
                found.append(f"report early {self.stream[1].name}")
        return found + [f"answer {name}" for name, _ in self._answers()]

    def _answers(self) -> list[tuple[str, Message]]:
        """Return the answers on their way, each different one once: of those with one name the second is "… #2"."""
        found: dict[str, Message] = {}
        for message in sorted(self.answers, key=lambda m: (m.name, m.key, m.asked_ns)):
            name, number = message.name, 1
            while name in found and found[name][1:] != message[1:]:
                number += 1
                name = f"{message.name} #{number}"
            found[name] = message
        return list(found.items())

    def _venue_moves(self) -> list[str]:
        venue, found = self.exchange, []
        for kind, client_id, mute, _ in sorted(set(self.requests), key=lambda r: r[:3]):
            name = f"{kind} {short(client_id)}" + (" (unanswered)" if mute else "")
            found.append(f"arrive {name}")
            if mute:
                continue
            found += [f"{fault} {name}" for fault in ("lose", "delay") if self.may(fault)]
            if self.may("lose answer"):
                found.append(f"arrive unheard {name}")
            if kind in (SUBMIT, REPLACE):
                found += [f"{fault} {name}" for fault in ("refuse", "error", "drop") if self.may(fault)]
            elif kind == CANCEL and self.may("refuse cancel"):
                found.append(f"refuse {name}")
        for client_id, qty in venue.fillable():
            whole = qty == venue.orders[client_id].remaining
            found.append(f"fill {short(client_id)} {'all' if whole else 'one'}")
        for client_id in venue.ending():
            order = venue.orders[client_id]
            found.append(f"end {short(client_id)}")
            if order.is_entry and order.filled and order.legs:
                found.append(f"end {short(client_id)} keeping its legs")
        if self.may("both fill"):
            found += [f"fill both {short(name)}" for name in venue.targets_with_stops()]
        if self.may("expire"):
            found += [
                f"expire {short(o.client_id)}" for o in venue.live_orders() if o.parent is None or o.active
            ]
        if self.may("owner"):
            found += [f"cancel {short(o.client_id)}" for o in venue.live_orders() if not o.canceling]
        if self.may("replace"):
            found += [
                f"replace {o.client_id}" for o in venue.live_orders() if o.parent and "'" not in o.client_id
            ]
        if self.swings:
            found += [f"market {level}" for level in venue.prices if level != venue.level]
        return found

    def _engine_moves(self) -> list[str]:
        found = []
        if self.truth is not None:
            if self.truth_positions is None:
                found.append("truth reads positions")
                lags = self.now_ns - self.filled_ns < LAG_NS
                if lags and self.may("lag") and self.exchange.before_last_fill != self.exchange.position:
                    found.append("truth reads old positions")
            else:
                found.append("truth reads orders")
        pit: Pit = self.state.market  # type: ignore[assignment]
        if pit.level != self.exchange.level or pit.reached():
            found.append("quote")
        if self.state.next_wake_ns is not None:
            found.append("time passes")
        if self.may("crash"):
            found += ["crash", "crash before sending", "crash before writing"]
        match self.connection:
            case "up" if self.may("stream"):
                found.append("stream breaks")
            case "broken":
                found.append("stream is down")
            case "down":
                found.append("stream is up")
        return found

    def fair_move(self) -> str | None:
        """Return what happens next where nothing more goes wrong and nothing is late; None: only time passes."""
        if self.down:
            return "restart"
        if self.connection != "up":
            return "stream is down" if self.connection == "broken" else "stream is up"
        if self.stream:
            return f"report {self.stream[0].name}"
        if self.answers:
            return f"answer {self._answers()[0][0]}"
        venue = self.exchange
        if self.requests:
            kind, client_id, mute, _ = min(self.requests, key=lambda r: r[:3])
            return f"arrive {kind} {short(client_id)}" + (" (unanswered)" if mute else "")
        for client_id, qty in venue.fillable():
            order = venue.orders[client_id]
            if not order.is_entry and qty == order.remaining:
                return f"fill {short(client_id)} all"
        ending = venue.ending()
        if ending:
            return f"end {short(ending[0])}"
        pit: Pit = self.state.market  # type: ignore[assignment]
        if pit.level != venue.level or pit.reached():
            return "quote"
        if self.truth is not None:
            return "truth reads positions" if self.truth_positions is None else "truth reads orders"
        return "time passes" if self.state.next_wake_ns is not None else None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way and the venue has nothing left to do by itself."""
        return self.fair_move() in ("time passes", None)

    # --- making a move ---------------------------------------------------------------------------------

    def make(self, move: str) -> None:
        """Carry out one move. Raises `Broken` where the engine does what it must never do."""
        words = move.split()
        faulty = FAULTS.get(words[0]) or FAULTS.get(" ".join(words[:2])) or FAULTS.get(" ".join(words[:3]))
        if words[0] == "refuse":
            faulty = "refuse cancel" if words[1] == CANCEL else "refuse"
        if faulty is not None:
            if not self.may(faulty):
                raise ValueError(f"no fault {faulty!r} is left for {move!r}")
            self.faults -= 1
        handler = getattr(self, f"_do_{words[0]}", None)
        if handler is None:
            raise ValueError(f"no such move: {move!r}")
        held = self.exchange.position
        handler(words[1:])
        if held != self.exchange.position:
            self.filled_ns = self.now_ns
        self._tell_stream()
        bare = self.exchange.bare
        if not bare:
            self.naked_since_ns = None
        elif self.naked_since_ns is None:
            self.naked_since_ns = self.now_ns

    def _tell_stream(self) -> None:
        """Put what the exchange has to tell on its way, if there is a connection to somebody who listens."""
        venue = self.exchange
        for event, client_id, execution, position in venue.told:
            if self.connection != "up" or self.down:
                continue
            order = venue.view(client_id, nested=False)
            report = OrderReport(
                ts_ns=Ns(0),
                event=event,
                order=order,
                execution=execution,
                position_qty=None if position is None else Qty(position),
            )
            name = f"{short(client_id)} {event}"
            self.stream.append(Message(name, packed((name, outline(order), position)), report))
        venue.told.clear()

    def _deliver(self, message: Message) -> None:
        self.feed(msgspec.structs.replace(message.event, ts_ns=Ns(self.now_ns)))

    def _do_report(self, words: list[str]) -> None:
        if words[:2] == ["and", "keep"]:
            self._deliver(self.stream[0])
        elif words[0] == "early":
            self._deliver(self.stream.pop(1))
        else:
            self._deliver(self.stream.pop(0))

    def _do_answer(self, words: list[str]) -> None:
        found = dict(self._answers())[" ".join(words)]
        self.answers.remove(found)
        self._deliver(found)

    # --- requests at the venue ---

    def _take(self, words: list[str]) -> Request:
        name, mute = words[:2], len(words) > 2
        found = next(r for r in self.requests if [r.kind, short(r.client_id)] == name and r.mute is mute)
        self.requests.remove(found)
        return found

    def _do_arrive(self, words: list[str]) -> None:
        unheard = words[0] == "unheard"
        request = self._take(words[1:] if unheard else words)
        if request.kind in (SUBMIT, REPLACE):
            wake = None if self.down else self.state.next_wake_ns
            self.now_ns += WAY_NS if wake is None else min(WAY_NS, wake - self.now_ns - 1)
        order, refusal = self._effect(request)
        if unheard:
            self._fail(request.kind, request.client_id, sent=True)
        elif not request.mute:
            self._answer(request, order, *refusal)

    def _effect(self, request: Request) -> tuple[VenueOrder | None, tuple[int, str, dict[str, str]]]:
        """Do what a request asks for; return the order and the answer's status, message and extras."""
        venue, client_id = self.exchange, request.client_id
        refusal: tuple[int, str, dict[str, str]] | None
        if request.kind == CANCEL:
            refusal = venue.cancel(client_id)
            return None, refusal or (204, "", {})
        if request.kind == QUERY:
            if client_id not in venue.orders:
                return None, (404, f"order not found for {client_id}", {})
            return venue.view(client_id), (200, "", {})
        order = request.order
        if request.kind == REPLACE:
            found = venue.replace(client_id, order.new_client_order_id, order.limit_price, order.stop_price)
            return (None, found) if isinstance(found, tuple) else (venue.view(found.client_id), (200, "", {}))
        found = venue.submit(order)
        if isinstance(found, tuple):
            return None, found
        view = venue.view(client_id)
        return msgspec.structs.replace(view, status=S.PENDING_NEW, status_text="pending_new"), (200, "", {})

    def _answer(
        self, request: Request, order: VenueOrder | None, status: int, message: str, extras: dict[str, str]
    ) -> None:
        event = RequestAnswered(
            ts_ns=Ns(0),
            kind=RequestKind(request.kind),
            client_order_id=request.client_id,
            status=status,
            order=order,
            message=message,
            extras=extras,
        )
        name = f"{request.kind} {short(request.client_id)} {status}"
        self.answers.append(Message(name, packed((name, message, outline(order))), event))

    def _do_lose(self, words: list[str]) -> None:
        request = self._take(words)
        self._fail(request.kind, request.client_id, sent=True)

    def _do_delay(self, words: list[str]) -> None:
        """The caller gives up; the request arrives all the same, some time."""
        request = self._take(words)
        self._fail(request.kind, request.client_id, sent=True)
        self.requests.append(request._replace(mute=True))

    def _do_drop(self, words: list[str]) -> None:
        request = self._take(words)
        self._fail(request.kind, request.client_id, sent=False)

    def _do_refuse(self, words: list[str]) -> None:
        request = self._take(words)
        if request.kind == CANCEL:
            self._answer(request, None, 422, "cannot cancel the order now", {})
        else:
            self._answer(request, None, 403, "refused for a reason of the venue's own", {})

    def _do_error(self, words: list[str]) -> None:
        """The venue carries a submit out and then answers that it is out of order."""
        request = self._take(words)
        self._effect(request)
        self._answer(request, None, 503, "service unavailable", {})

    # --- the exchange's own acts ---

    def _id(self, name: str) -> str:
        return next(client_id for client_id in self.exchange.orders if short(client_id) == name)

    def _do_fill(self, words: list[str]) -> None:
        venue = self.exchange
        if words[0] == "both":
            venue.fill_both(self._id(words[1]))
            return
        order = venue.orders[self._id(words[0])]
        venue.fill(order.client_id, order.remaining if words[1] == "all" else 1_000_000_000)

    def _do_end(self, words: list[str]) -> None:
        self.exchange.end(self._id(words[0]), S.CANCELED, keeps_legs=len(words) > 1)

    def _do_expire(self, words: list[str]) -> None:
        self.exchange.end(self._id(words[0]), S.EXPIRED)

    def _do_cancel(self, words: list[str]) -> None:
        """The owner cancels an order in the broker's app."""
        self.exchange.cancel(self._id(words[0]))
        self.exchange.tell_of(self._id(words[0]), "pending_cancel")

    def _do_replace(self, words: list[str]) -> None:
        self.exchange.replace_leg(words[0])

    def _do_market(self, words: list[str]) -> None:
        self.swings -= 1
        self.exchange.move(words[0])

    def _do_quote(self, _words: list[str]) -> None:
        """The engine sees where the market is; what that reaches, fires."""
        pit: Pit = self.state.market  # type: ignore[assignment]
        pit.level = self.exchange.level
        slots = pit.reached()
        for slot in slots:
            pit.disarm(slot)
        if slots:
            self.feed(TriggersFired(ts_ns=Ns(self.now_ns), slots=slots))

    # --- the engine's side ---

    def _do_operator(self, words: list[str]) -> None:
        """The operator asks for something: "close", "close 1" or "amend 149"."""
        amount = None if len(words) == 1 else nano(words[1])
        close = words[0] == "close"
        self.feed(
            OperatorRequest(
                ts_ns=Ns(self.now_ns),
                action=OperatorAction(words[0]),
                target=self.exchange.symbol,
                qty=None if amount is None or not close else Qty(amount),
                stop_loss=None if amount is None or close else Price(amount),
            )
        )

    def _do_time(self, _words: list[str]) -> None:
        wake = self.state.next_wake_ns
        if wake is None:
            raise ValueError("nothing is due")
        self.now_ns = wake
        self.feed(Wake(ts_ns=Ns(wake)))

    def _do_truth(self, words: list[str]) -> None:
        """Read the positions, then the orders: two requests, between which things happen."""
        venue = self.exchange
        if words[1] != "orders":
            qty = venue.before_last_fill if words[1] == "old" else venue.position
            self.truth_positions = venue.snapshot(qty)
            return
        asked, positions = self.truth, self.truth_positions
        assert asked is not None
        assert positions is not None
        report = TruthReport(
            ts_ns=Ns(0),
            asked_ns=Ns(self.truth_asked_ns),
            orders=venue.heads(asked),
            missing=tuple(name for name in asked if name not in venue.orders),
            positions=positions,
        )
        self.truth = self.truth_positions = None
        key = ([outline(o) for o in report.orders], report.missing, [p.qty for p in positions])
        self.answers.append(Message("truth", packed(key), report, self.truth_asked_ns))
        if self.truth_again is not None:
            again, self.truth_again = self.truth_again, None
            self.ask_truth(again)

    def _do_stream(self, words: list[str]) -> None:
        match words[-1]:
            case "breaks":
                self.connection = "broken"
                self.stream = []  # what was on its way is lost with it
            case "down":
                self.connection = "down"
                self.feed(link_report(self.now_ns, Link.TRADE_UPDATES, up=False))
            case "up":
                self.connection = "up"
                self.feed(link_report(self.now_ns, Link.TRADE_UPDATES, up=True))

    def _do_crash(self, words: list[str]) -> None:
        """Die. "before sending": what was asked for last never left; "before writing": the journal's last words too."""
        self.down = True
        self.stream, self.answers = [], []
        self.truth = self.truth_again = self.truth_positions = None
        self.connection = "up"
        if words:
            self.requests = [r for r in self.requests if r.mute]
        self.requests = [r._replace(mute=True) for r in self.requests]
        if words[-1:] == ["writing"]:
            self.journal = self.durable.copy()
        self.durable = self.journal.copy()

    def _do_restart(self, words: list[str]) -> None:
        """Start from what the journal kept, as the daemon does: the only way to start."""
        if words:
            self.now_ns += DOWN_NS
        old, now = self.state, Ns(self.now_ns)
        fresh = State(old.limits, Pit(self.exchange.symbol, self.exchange.prices), Venue.SIM)  # type: ignore[arg-type]
        fresh.restore((kind, name, encode(kept.entity)) for (kind, name), kept in self.journal.items())
        fresh.now_ns = now
        fresh.market.level = self.exchange.level  # type: ignore[attr-defined]
        self.state, self.down = fresh, False
        self.feed(Started(ts_ns=now, version="test", limits_sha256=fresh.limits.sha256, rolls_ns=(ROLL,)))
        self.feed(account(ts_ns=now, asked_ns=now))
        self.feed(AssetsReport(ts_ns=now, assets=(asset(self.exchange.symbol),)))
        self.feed(session(ts_ns=now))
        for link in Link:
            self.feed(link_report(self.now_ns, link, up=True))
