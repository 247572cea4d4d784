"""The ledger's tables and the contract's views over them, as data.

Owns the columns of `hands.db`, how a row of the core becomes their values, and the bytes of a row in the
journal's outbox. The one idea: a base table keeps every price, quantity, amount and ratio exactly, as integer
nano-units in a column `<name>_nano`; the view of the contract's name shows it as a plain number, so that other
programs can do arithmetic in SQL. Unknown is NULL.

What a row's value must be, by kind: TEXT str · NS int · FLAG bool, 0 or 1 · NANO int nano-units · REAL float
(an indicator's) · TIME int Unix ns, shown as RFC 3339 UTC · JSON a dict, list, text or bytes, kept as text ·
PLAIN a number or its decimal text as the receipt has it, shown as a number where it is one. None always fits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import msgspec

SCHEMA_VERSION = 3

_INT64 = range(-(2**63), 2**63)


class RowError(ValueError):
    """A row does not fit its table: unknown table or column, a missing key, a value of the wrong type."""


class Kind(Enum):
    TEXT = auto()
    NS = auto()
    FLAG = auto()
    NANO = auto()
    REAL = auto()
    TIME = auto()
    JSON = auto()
    PLAIN = auto()


@dataclass(frozen=True)
class Column:
    """One column of a view; `stored` is its name in the base table."""

    name: str
    kind: Kind

    @property
    def stored(self) -> str:
        match self.kind:
            case Kind.NANO:
                return f"{self.name}_nano"
            case Kind.TIME:
                return f"{self.name}_ns"
            case _:
                return self.name

    @property
    def affinity(self) -> str:
        match self.kind:
            case Kind.TEXT | Kind.JSON:
                return "TEXT"
            case Kind.REAL:
                return "REAL"
            case Kind.PLAIN:
                return "NUMERIC"
            case _:
                return "INTEGER"

    @property
    def shown(self) -> str:
        """The view's expression for it."""
        match self.kind:
            case Kind.NANO:
                return f"{self.stored} / 1000000000.0 AS {self.name}"
            case Kind.TIME:
                seconds = f"strftime('%Y-%m-%dT%H:%M:%S', {self.stored} / 1000000000, 'unixepoch')"
                return f"{seconds} || printf('.%06dZ', {self.stored} / 1000 % 1000000) AS {self.name}"
            case _:
                return self.name


@dataclass(frozen=True)
class Table:
    """One view and its base table: upserted by `key`, or a history that only grows (`key` None)."""

    view: str
    key: str | None
    columns: tuple[Column, ...]
    constraints: tuple[str, ...] = ()
    _shapes: dict[tuple[str, ...], tuple[str, tuple[Column, ...]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What writing a row takes, by its columns: made once for each kind of row that there is."""

    @property
    def stored(self) -> str:
        return f"ledger_{self.view}"

    def ddl(self) -> tuple[str, ...]:
        columns = ["number INTEGER PRIMARY KEY"]
        for column in self.columns:
            unique = " NOT NULL UNIQUE" if column.name == self.key else ""
            columns.append(f"{column.stored} {column.affinity}{unique}")
        shown = [column.shown for column in self.columns]
        return (
            f"CREATE TABLE {self.stored} ({', '.join(columns)})",
            f"CREATE VIEW {self.view} AS SELECT {', '.join(shown)} FROM {self.stored}",  # noqa: S608
            *self.constraints,
        )

    def statement(self, row: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL and the values that write `row`; columns that it does not name keep what they have.

        Raises:
            RowError: the row does not fit.
        """
        names = tuple(row)
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shapes[names] = self._shape(names)
        sql, known = shape
        if self.key is not None and row[self.key] is None:
            raise RowError(f"a row of {self.view} needs its {self.key}")
        return sql, tuple(_value(self.view, column, row[column.name]) for column in known)

    def _shape(self, names: tuple[str, ...]) -> tuple[str, tuple[Column, ...]]:
        """Return the SQL that writes rows of these columns, and the columns in its order. Raises RowError."""
        known = tuple(column for column in self.columns if column.name in names)
        if len(known) != len(names):
            strangers = sorted(set(names) - {column.name for column in self.columns})
            raise RowError(f"{self.view} has no column {', '.join(strangers)}")
        if self.key is not None and self.key not in names:
            raise RowError(f"a row of {self.view} needs its {self.key}")
        stored = [column.stored for column in known]
        sql = f"INSERT INTO {self.stored} ({', '.join(stored)}) VALUES ({', '.join('?' * len(stored))})"  # noqa: S608
        if self.key is not None:
            changes = [f"{name} = excluded.{name}" for name in stored if name != self.key]
            action = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
            sql += f" ON CONFLICT ({self.key}) DO {action}"
        return sql, known


def _listed(text: str) -> tuple[Column, ...]:
    """Return columns from "name kind, name kind, …", in that order."""
    columns = []
    for item in text.split(","):
        name, kind = item.split()
        columns.append(Column(name, Kind[kind.upper()]))
    return tuple(columns)


TABLES: Mapping[str, Table] = {
    table.view: table
    for table in (
        Table(
            "intents",
            "intent_id",
            _listed(
                "intent_id text, agent text, kind text, symbol text, direction text, verdict text, code text,"
                "state text, strategy_ref text, confidence nano, trigger_price nano, stop_loss nano,"
                "take_profit nano, received_ns ns, decided_ns ns, sent_ns ns, updated_ns ns, document json,"
                "receipt json"
            ),
            (
                "CREATE INDEX intents_by_time ON ledger_intents (decided_ns)",
                "CREATE INDEX intents_by_state ON ledger_intents (state)",
            ),
        ),
        Table(
            "rejections",
            None,
            _listed(
                "intent_id text, agent text, code text, limit_value plain, observed plain, detail json, at_ns ns"
            ),
            ("CREATE INDEX rejections_by_time ON ledger_rejections (at_ns)",),
        ),
        Table(
            "orders",
            "client_order_id",
            _listed(
                "client_order_id text, order_id text, intent_id text, leg text, symbol text, side text,"
                "order_type text, order_class text, time_in_force text, qty nano, filled_qty nano,"
                "avg_price nano, limit_price nano, stop_price nano, status text, created_ns ns, sent_ns ns,"
                "acked_ns ns, updated_ns ns"
            ),
            (
                "CREATE UNIQUE INDEX orders_by_venue_id ON ledger_orders (order_id) WHERE order_id IS NOT NULL",
                "CREATE INDEX orders_by_intent ON ledger_orders (intent_id)",
            ),
        ),
        Table(
            "fills",
            "execution_id",
            _listed(
                "execution_id text, client_order_id text, order_id text, intent_id text, leg text, symbol text,"
                "side text, qty nano, price nano, fee nano, at_ns ns"
            ),
            ("CREATE INDEX fills_by_intent ON ledger_fills (intent_id)",),
        ),
        Table("states", None, _listed("at_ns ns, state text, reason text, event text, detail json")),
        Table(
            "alerts",
            None,
            _listed("at_ns ns, level text, code text, message text"),
            ("CREATE INDEX alerts_by_time ON ledger_alerts (at_ns)",),
        ),
        Table(
            "trade_episodes",
            "intent_id",
            _listed(
                "id text, asset text, direction text, entry_price nano, exit_price nano, pnl_pct nano, vix_at_entry real,"
                "rsi_14 real, macd_signal real, funding_rate real, volume_24h real, agent_thesis text,"
                "strategy_ref text, confidence_score nano, exit_reason text, expected_pnl nano, actual_pnl nano,"
                "opened_at time, closed_at time, regime text, intent_id text, agent text, qty nano, fees nano,"
                "fees_estimated flag, vwap real, latency_ns ns, slippage nano"
            ),
            ("CREATE INDEX trade_episodes_by_close ON ledger_trade_episodes (closed_at_ns)",),
        ),
        Table(
            "hindsight",
            "intent_id",
            _listed(
                "intent_id text, result text, entry_price nano, exit_price nano, r nano, usd nano, sized text,"
                "ended_ns ns, noted_ns ns"
            ),
        ),
    )
}

_CHECK = "CASE WHEN json_valid(r.detail) THEN json_extract(r.detail, '$.check') END"
_DAY = "CASE WHEN json_valid(r.detail) THEN json_extract(r.detail, '$.scene.day') END"
_VALUED = "h.result NOT IN ('unknown', 'impossible')"

GATES = f"""
CREATE VIEW gates AS SELECT
  coalesce({_DAY}, strftime('%Y-%m-%d', r.at_ns / 1000000000, 'unixepoch')) AS day,
  {_CHECK} AS "check", r.code, r.agent, count(*) AS fired, coalesce(sum({_VALUED}), 0) AS valued,
  sum(coalesce(h.r_nano, 0) > 0) FILTER (WHERE {_VALUED}) AS would_have_won,
  sum(coalesce(h.r_nano, 0) < 0) FILTER (WHERE {_VALUED}) AS would_have_lost,
  sum(coalesce(h.r_nano, 0)) FILTER (WHERE {_VALUED}) / 1000000000.0 AS r_sum,
  sum(CASE h.result WHEN 'unfilled' THEN 0 ELSE h.usd_nano END) / 1000000000.0 AS usd_sum
FROM ledger_rejections r LEFT JOIN ledger_hindsight h ON h.intent_id = r.intent_id
WHERE {_CHECK} IS NOT NULL GROUP BY 1, 2, 3, 4
"""  # noqa: S608  (words of ours)
"""What each check refused on each trading day, of which agent: always up to date, since it is made of the other tables."""

VIEWS = (*TABLES, "gates")
"""Everything that may be read by name."""

ADDED: Mapping[int, tuple[str, ...]] = {1: (*TABLES["hindsight"].ddl(), GATES), 2: TABLES["alerts"].ddl()}
"""What a ledger of that version lacks, beside what those after it lack."""

OWN_TABLES = (
    """CREATE TABLE projection (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        journal_id TEXT NOT NULL,
        position INTEGER NOT NULL,
        seq INTEGER NOT NULL
    )""",
    """CREATE TABLE set_aside (
        position INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        tbl TEXT NOT NULL,
        row TEXT NOT NULL,
        reason TEXT NOT NULL
    )""",
)
"""How far the projection has come, and the rows that did not fit (none, unless there is a defect)."""


def statement(table: str, row: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Return the SQL and values that write `row` into the view named `table`. Raises RowError."""
    if table not in TABLES:
        raise RowError(f"there is no view {table!r}; there are {', '.join(TABLES)}")
    return TABLES[table].statement(row)


def encode_row(row: Mapping[str, Any]) -> bytes:
    """Return a row's bytes for the journal's outbox: JSON, because it holds integers of any size."""
    if bytes in map(type, row.values()):  # seldom, and on the way of an order it is not looked at one by one
        row = {name: _text(value) if isinstance(value, bytes) else value for name, value in row.items()}
    return _ENCODER.encode(row)


def decode_row(data: bytes) -> dict[str, Any]:
    """Return the row of `encode_row`. Raises RowError."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RowError(f"not a row: {error}") from error


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(dict[str, Any])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _integer(value: Any) -> float | None:
    """An amount beyond 64 bits (nine billion dollars and more) is kept as the nearest float."""
    if type(value) is not int:
        return None
    return value if value in _INT64 else float(value)


def _json(value: Any) -> str | None:
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else None


def _plain(value: Any) -> str | float | None:
    if isinstance(value, str | float):
        return value
    return _integer(value)


_READ: Mapping[Kind, Callable[[Any], str | float | None]] = {
    Kind.TEXT: lambda value: str(value) if isinstance(value, str) else None,
    Kind.NS: _integer,
    Kind.NANO: _integer,
    Kind.TIME: _integer,
    Kind.FLAG: lambda value: int(value) if isinstance(value, int) and value in {0, 1} else None,
    Kind.REAL: lambda value: float(value) if type(value) in {int, float} else None,
    Kind.JSON: _json,
    Kind.PLAIN: _plain,
}


def _value(view: str, column: Column, value: Any) -> str | float | None:
    """Return what SQLite is given for `value`. Raises RowError if it is not of the column's kind."""
    if value is None:
        return None
    read = _READ[column.kind](value)
    if read is None:
        raise RowError(
            f"{view}.{column.name} takes {column.kind.name}, found {type(value).__name__} {value!r:.60}"
        )
    return read
