"""Ways: how long a request is on its way to the exchange, an answer on its way back, and a report.

Owns those times. May not know an exchange or a record. The one idea: where it is known how long just this request took,
that is what it takes; every other takes the median of those that are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from hands.core.events import OrderReport, RequestKind
from hands.core.units import Qty


@dataclass(frozen=True, slots=True)
class Way:
    """One request's way there and its answer's way back; nanoseconds."""

    there_ns: int
    back_ns: int


ReportKey = tuple[str, str, Qty]
"""Which report it is: its order's client_order_id, the venue's word, and how much of the order was filled by then."""


def report_key(report: OrderReport) -> ReportKey:
    return report.order.client_order_id, report.event, report.order.filled_qty


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of single ways: those of a request by its kind and id in the order of sending, and of reports."""

    requests: Mapping[tuple[RequestKind, str], Sequence[Way]] = field(default_factory=dict)
    reports: Mapping[ReportKey, int] = field(default_factory=dict)

    @property
    def each_way_ns(self) -> int | None:
        """Half of the median request's way there and back, None where no request was answered."""
        times = [way.there_ns + way.back_ns for ways in self.requests.values() for way in ways]
        return round(median(times) / 2) if times else None


class Ways:
    """The ways of one replay; `usual_ns` each way for what `measured` does not know."""

    def __init__(self, usual_ns: int, measured: Measured | None = None) -> None:
        self.usual_ns = usual_ns
        self._measured = measured or Measured()
        self._sent: Counter[tuple[RequestKind, str]] = Counter()
        known = [way for ways in self._measured.requests.values() for way in ways]
        self._usual = Way(
            round(median(way.there_ns for way in known)) if known else usual_ns,
            round(median(way.back_ns for way in known)) if known else usual_ns,
        )
        reports = self._measured.reports.values()
        self._usual_report_ns = round(median(reports)) if reports else usual_ns

    def of_request(self, kind: RequestKind, client_order_id: str) -> Way:
        """Return the way of the next request of this kind about this order."""
        key = kind, client_order_id
        known = self._measured.requests.get(key, ())
        number = self._sent[key]
        self._sent[key] += 1
        return known[number] if number < len(known) else self._usual

    def of_report(self, key: ReportKey) -> int:
        """Return how long a report is on its way, nanoseconds."""
        return self._measured.reports.get(key, self._usual_report_ns)
