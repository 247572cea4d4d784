"""Documents and when they arrive, from wherever a user keeps them: lines, files, a former session.

Owns their reading. May not judge a document: its bytes arrive as they are, and the guardian says what it thinks of them.
The one idea: a document arrives at a moment of the market's time. Where nothing else says when, that is its own
`timestamp`; where it has none that can be read, the time its file was last changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hands.core.events import DocumentReceived
from hands.core.limits import DEFAULT_AGENT
from hands.core.members import parse_time_ns
from hands.core.units import Ns
from hands.core.vocab import Code
from hands.journal.record import NoRecord, arrivals

SIZE_MAX = 64 * 1024
"""A larger file is refused without being opened, as in the drop folder."""

AGENTS = "agents"


class ArrivalError(ValueError):
    """Documents that cannot be taken: where, and why."""


class Arrival(NamedTuple):
    """A document as it comes to the drop folder at `at_ns`; `fault` where it is refused without being opened."""

    at_ns: int
    agent: str
    name: str
    data: bytes
    fault: Code | None = None


def read_arrivals(path: Path) -> list[Arrival]:
    """Return the documents of a file of JSON lines, of a folder of intent files or of a state directory, by time.

    Raises:
        ArrivalError: nothing there can be read as one of them.
    """
    if path.is_dir():
        found = _of_record(path) if (path / "journal.db").exists() else _of_folder(path)
    elif path.suffix == ".json" and not _is_lines(path):
        found = [_of_file(path, DEFAULT_AGENT)]
    else:
        found = list(_of_lines(path))
    return in_order(found)


def in_order(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Return documents by the time of their arrival; those of one moment stay as they stand."""
    return sorted(arrivals, key=lambda arrival: arrival.at_ns)


# --- JSON lines --------------------------------------------------------------------------------------------


def _is_lines(path: Path) -> bool:
    """Whether a .json file is lines all the same: its first line is a whole object that has an `intent`."""
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(4 * SIZE_MAX))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and "intent" in first


def _of_lines(path: Path) -> Iterator[Arrival]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArrivalError(f"{path}: {error.strerror}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield _of_line(f"{path}:{number}", line, number)


def _of_line(where: str, line: bytes, number: int) -> Arrival:
    """Return the arrival of a line {"at": ..., "agent": ..., "intent": {...}}; `at` and `agent` may be left out."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise ArrivalError(f"{where}: not a JSON object: {error}") from error
    strangers = sorted(fields.keys() - {"at", "agent", "intent", "name"})
    if "intent" not in fields or strangers:
        unknown = f"; not known: {', '.join(strangers)}" if strangers else ""
        raise ArrivalError(f'{where}: a line is {{"at": TIME, "agent": NAME, "intent": {{...}}}}{unknown}')
    data = bytes(fields["intent"])  # as it stands there: the guardian's reader is strict about bytes
    agent = _text(where, "agent", fields, DEFAULT_AGENT)
    name = _text(where, "name", fields, f"line-{number}.json")
    at_ns = _moment(where, fields["at"]) if "at" in fields else _own_time(data)
    if at_ns is None:
        raise ArrivalError(f"{where}: neither `at` nor a `timestamp` in the intent says when it arrives")
    return Arrival(at_ns, agent, name, data, Code.TOO_LARGE if len(data) > SIZE_MAX else None)


def _text(where: str, name: str, fields: dict[str, msgspec.Raw], default: str) -> str:
    if name not in fields:
        return default
    value = msgspec.json.decode(fields[name])
    if not isinstance(value, str) or not value:
        raise ArrivalError(f"{where}: {name} is {value!r}, not a text")
    return value


def _moment(where: str, raw: msgspec.Raw) -> int:
    """Return a time: RFC 3339 text, or Unix nanoseconds."""
    value: Any = msgspec.json.decode(raw)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return parse_time_ns(value)
        except ValueError as error:
            raise ArrivalError(f"{where}: at: {error}") from error
    raise ArrivalError(f"{where}: at is {value!r}; it is RFC 3339 or whole nanoseconds")


def _own_time(data: bytes) -> int | None:
    """Return the document's own `timestamp`, None where there is none that can be read."""
    try:
        fields = msgspec.json.decode(data)
        return parse_time_ns(fields["timestamp"])
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError, UnicodeDecodeError):
        return None


# --- files -------------------------------------------------------------------------------------------------


def _of_folder(folder: Path) -> list[Arrival]:
    """Return the intent files of a folder and of its agents/<agent>, as the drop folder has them."""
    places = [(DEFAULT_AGENT, folder)]
    agents = folder / AGENTS
    if agents.is_dir():
        places += [(place.name, place) for place in sorted(agents.iterdir()) if place.is_dir()]
    found = [
        _of_file(path, agent)
        for agent, place in places
        for path in sorted(place.glob("*.json"))
        if not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise ArrivalError(f"{folder}: no *.json in it, and no journal.db: it is no folder of documents")
    return found


def _of_file(path: Path, agent: str) -> Arrival:
    try:
        about = path.stat()
        if about.st_size > SIZE_MAX:
            return Arrival(about.st_mtime_ns, agent, path.name, b"", Code.TOO_LARGE)
        data = path.read_bytes()
    except OSError as error:
        raise ArrivalError(f"{path}: {error.strerror}") from error
    own_ns = _own_time(data)
    return Arrival(about.st_mtime_ns if own_ns is None else own_ns, agent, path.name, data)


# --- former sessions -----------------------------------------------------------------------------------------


def _of_record(state: Path) -> list[Arrival]:
    """Return the documents that a daemon's sessions received, when they did."""
    try:
        return [taken(event) for event in arrivals(state)]
    except NoRecord as error:
        raise ArrivalError(f"{state}: {error}") from error


def taken(event: DocumentReceived) -> Arrival:
    """Return the arrival that a daemon has noted."""
    return Arrival(event.ts_ns, event.agent, event.name, event.data, event.fault)


def received(arrival: Arrival, ts_ns: int) -> DocumentReceived:
    """Return the event that an arrival is."""
    return DocumentReceived(
        ts_ns=Ns(ts_ns),
        agent=arrival.agent,
        name=arrival.name,
        data=arrival.data,
        file_event_ns=Ns(ts_ns),
        fault=arrival.fault,
        fault_detail=f"larger than {SIZE_MAX} bytes" if arrival.fault is Code.TOO_LARGE else "",
    )
