"""`hands journal`: what is on record, what of it may go, and the key that proves it.

Owns the three commands and their layout. May not compute: what there is comes from `hands.journal.listing`, what may go
from `hands.journal.retention`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hands.cli.output import ExitCode, JsonFlag, fail, print_json, say, table
from hands.cli.places import DEFAULT_CONFIG, ConfigFlag, StateFlag, setting, state_folder
from hands.cli.times import clock_text

if TYPE_CHECKING:
    from hands.journal.listing import Listed, Listing
    from hands.journal.retention import Old

MB, GB = 10**6, 10**9
FOR_EVER = 10.0**9

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help="""What is on record of each session, what of it may go, and the key that proves it. All three take --json.

    Example: hands journal ls --state var/paper""",
)


@app.command("ls")
def ls(*, config: ConfigFlag = DEFAULT_CONFIG, state: StateFlag = None, as_json: JsonFlag = False) -> None:
    """List sessions and their segments: when, steps, rows, size, and until when they are anchored.

    Every session (one life of the daemon) lies in one or more segments; each can be run again by itself. Works beside a
    running daemon. Exit 1 where nothing is recorded, or a segment is damaged or shorter than it was.

    Example: hands journal ls --state var/paper
    """
    from hands.journal.listing import listing

    folder = _folder(config, state, as_json=as_json)
    try:
        found = listing(folder)
    except OSError as error:
        fail(ExitCode.NEGATIVE, f"{error.filename or folder}: {error.strerror}", as_json=as_json)
    if as_json:
        print_json(_document(folder, found))
    else:
        say("\n".join(_lines(folder, found)))
        for fault in found.faults:
            say(f"hands: {fault}", err=True)
    raise typer.Exit(int(ExitCode.FINE if found.segments and not found.faults else ExitCode.NEGATIVE))


@app.command("prune")
def prune(
    *,
    keep_days: Annotated[
        float | None, typer.Option(min=0, help="Keep segments in use within so many days. [hands.toml]")
    ] = None,
    keep_gb: Annotated[
        float | None, typer.Option(min=0, help="Keep at most so many gigabytes (10^9 bytes). [hands.toml]")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them, instead of saying what would go.")] = False,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Say which segments are too old or too much, and with --yes remove them: the oldest first, never the newest.

    The daemon does the same by itself once an hour, by keep_days and keep_gb of hands.toml. What is removed cannot be run
    again or verified any more; the ledger (hands.db) and the journal stay as they are.

    Example: hands journal prune --keep-days 7 --yes
    """
    from hands.journal.retention import Keep, remove, too_old
    from hands.journal.segments import folder_of

    folder = _folder(config, state, as_json=as_json)
    keep = Keep(
        _bound("keep_days", keep_days, config, as_json=as_json),
        _bound("keep_gb", keep_gb, config, as_json=as_json),
    )
    try:
        old = too_old(folder_of(folder), keep, time.time_ns())
        if yes:
            remove(old)
    except OSError as error:
        fail(ExitCode.NEGATIVE, f"{error.filename or folder}: {error.strerror}", as_json=as_json)
    if as_json:
        rows = [{"name": o.path.name, "bytes": o.size, "used_ns": o.used_ns, "why": o.why} for o in old]
        print_json({"ok": True, "removed": yes, "bytes": sum(o.size for o in old), "segments": rows})
    else:
        say("\n".join(_pruned(old, removed=yes)))


@app.command("key")
def key(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Print it only; it stays where it lies.")] = False,
    config: ConfigFlag = DEFAULT_CONFIG,
    state: StateFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the first key of the record and remove it from the state directory.

    Every step and every row on record is sealed. The first key is what the seals are checked with: keep it where this machine
    cannot write. Whoever takes the machine over finds only today's keys, and cannot change the past without it showing to
    you. Exit 1 where it was taken away before.

    Example: hands journal key --state var/paper > first.key
    """
    from hands.journal.keys import FIRST_NAME, first_key

    folder = _folder(config, state, as_json=as_json)
    path = folder / FIRST_NAME
    try:
        found = first_key(folder)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        fail(ExitCode.NEGATIVE, f"{path}: {why}", as_json=as_json)
    if found is None:
        fail(
            ExitCode.NEGATIVE,
            f"there is no {path}: it was taken away before, or nothing has been recorded here",
            as_json=as_json,
        )
    if not keep and not os.access(folder, os.W_OK):
        fail(ExitCode.NEGATIVE, f"{path} cannot be removed: say --keep to print it only", as_json=as_json)
    try:
        if as_json:
            print_json({"ok": True, "first_key": found.hex(), "removed": not keep})
        else:
            say(found.hex())
        sys.stdout.flush()
    except OSError as error:  # a key that could not be written is not removed
        fail(ExitCode.NEGATIVE, f"the key cannot be written: {error.strerror}; it still lies in {path}")
    if keep:
        say(f"It still lies in {path}, where whoever breaks in finds it too.", err=True)
        return
    try:
        path.unlink()
    except OSError as error:
        fail(ExitCode.NEGATIVE, f"{path}: not removed: {error.strerror}")
    say(
        f"This was the only copy: {path} is removed. Keep the line above where this machine cannot write.",
        err=True,
    )


def _folder(config: Path, state: Path | None, *, as_json: bool) -> Path:
    folder = state_folder(config, state, as_json=as_json)
    if not folder.is_dir():
        fail(ExitCode.USAGE, f"there is no state directory {folder}", as_json=as_json)
    return folder


def _bound(name: str, said: float | None, config: Path, *, as_json: bool) -> float:
    """Return a bound as said, else as hands.toml has it, else none."""
    found = setting(config, "journal", name, as_json=as_json) if said is None else said
    return float(found) if isinstance(found, int | float) else FOR_EVER


# --- layout --------------------------------------------------------------------------------------------------


def _lines(folder: Path, found: Listing) -> list[str]:
    if not found.segments:
        return [f"nothing is recorded in {folder}"]
    sessions = [
        (
            each.session or "before", clock_text(each.began_ns), "no" if each.ended_ns is None else clock_text(each.ended_ns),
            each.segments, each.steps, each.rows, each.lost, _mb(each.size),
        )
        for each in found.sessions
    ]  # fmt: skip
    lines = table(("session", "began", "ended", "segments", "steps", "rows", "lost", "MB"), sessions)
    lines += ["", *table(_HEADINGS, [_cells(each) for each in found.segments])]
    lines += ["", f"{len(found.segments)} segments, {found.size / GB:.3f} GB"]
    if found.anchored_ns is not None:
        lines.append(f"anchored until {clock_text(found.anchored_ns)}, step {found.anchored_seq}")
    if found.has_first_key:
        lines.append(
            "the first key still lies beside the record, which proves nothing then: hands journal key"
        )
    return lines


_HEADINGS = ("segment", "began", "until", "steps", "rows", "MB", "GB/h", "anchored", "")


def _cells(each: Listed) -> tuple[Any, ...]:
    has, speed = each.has, each.gb_per_hour
    return (
        each.name, "-" if has is None else clock_text(has.began_ns), clock_text(each.used_ns),
        None if has is None else has.steps, None if has is None else has.rows, _mb(each.size),
        None if speed is None else f"{speed:.4f}", clock_text(each.anchored_ns), _word(each),
    )  # fmt: skip


def _word(each: Listed) -> str:
    if each.fault is not None:
        return "damaged"
    if each.has is not None and each.has.ended_ns is not None:
        return "closed"
    return "open" if each.is_newest else "not closed"


def _mb(size: int) -> str:
    return f"{size / MB:.2f}"


def _pruned(old: list[Old], *, removed: bool) -> list[str]:
    if not old:
        return ["nothing is too old or too much"]
    lines = table(
        ("segment", "MB", "last in use", "why"),
        [(each.path.name, _mb(each.size), clock_text(each.used_ns), each.why) for each in old],
    )
    total = f"{len(old)} segments, {sum(each.size for each in old) / GB:.3f} GB"
    return [*lines, "", f"removed: {total}" if removed else f"would be removed: {total}; say --yes to do it"]


def _document(folder: Path, found: Listing) -> dict[str, Any]:
    import msgspec

    segments = [
        {
            "name": each.name, "bytes": each.size, "state": _word(each), "used_ns": each.used_ns,
            "anchored_ns": each.anchored_ns, "anchored_bytes": each.anchored_bytes, "gb_per_hour": each.gb_per_hour,
            "fault": each.fault,
        }
        | ({} if each.has is None else {name: getattr(each.has, name) for name in _TOLD})
        for each in found.segments
    ]  # fmt: skip
    sessions = [
        {("bytes" if name == "size" else name): value for name, value in msgspec.structs.asdict(each).items()}
        for each in found.sessions
    ]
    return {
        "state": str(folder), "bytes": found.size, "anchored_ns": found.anchored_ns, "anchored_seq": found.anchored_seq,
        "first_key_here": found.has_first_key, "sessions": sessions, "segments": segments,
    }  # fmt: skip


_TOLD = (
    "session",
    "first_seq",
    "last_seq",
    "first_row",
    "next_row",
    "began_ns",
    "ended_ns",
    "steps",
    "rows",
    "lost",
)
