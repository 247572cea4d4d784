"""Filing documents that were judged: out of the drop folder, into archive/ or refused/.

Owns every system call that moves or writes a document. May not interpret its bytes. The one idea: nothing in the drop
folder is trusted to stay what it was a moment ago. What leaves it is first renamed to a hidden name and then compared
with what was judged: a file that was put in its place meanwhile goes back and is judged in its own right. Nothing is
overwritten, nothing is lost.

Nothing is synced to disk here: the judged bytes are in the journal before their order leaves.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from hands.core.units import NS_PER_S, Ns
from hands.intake.places import open_below
from hands.intake.reading import SUFFIX, Identity, IntakeError, content, shown_name

TAKEN_PREFIX = ".taken-"
NAME_BYTES_MAX = 255
"""The longest name of a file that Linux file systems take."""

Others = Callable[[], Collection[bytes]]
"""The bytes of the other documents of a name that were delivered and are still to be filed; asked on a clash only."""

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}\Z", re.ASCII)


def archive(
    folder: Path,
    drop_fd: int | None,
    name: str,
    data: bytes,
    *,
    intent_id: str,
    judged_ns: Ns,
    claimed: Others = tuple,
) -> None:
    """File judged bytes as `archive/<UTC date>/<intent_id>.json` and take `name` out of the drop folder `drop_fd`.

    `drop_fd` is None where that folder is gone.

    Where another document is filed under that id (by an engine that knew nothing of this one's state), `.1`, `.2` … is
    added: nothing is overwritten.

    Doing it again is harmless. What stands under `name` by now and is not `data` stays, to be judged itself.

    Raises:
        IntakeError: it could not be done; try again.
    """
    if not _SAFE_ID.match(intent_id):
        raise ValueError(f"{intent_id!r} cannot be a file name")
    day = datetime.fromtimestamp(judged_ns // NS_PER_S, UTC).date().isoformat()
    try:
        with open_below(folder, "archive", day, make=True) as place_fd:
            filed, clashes = f"{intent_id}{SUFFIX}", 0
            while not _create(place_fd, filed, data) and content(place_fd, filed, len(data)) != data:
                clashes += 1
                filed = f"{intent_id}{SUFFIX}.{clashes}"
        _take_content(drop_fd, name, data, claimed)
    except OSError as error:
        raise IntakeError(f"{shown_name(name)} not archived: {error.strerror or error}") from error


def refuse(
    folder: Path,
    drop_fd: int | None,
    name: str,
    data: bytes,
    *,
    receipt: Mapping[str, Any],
    identity: Identity | None,
    claimed: Others = tuple,
) -> str:
    """Move `name` out of the drop folder `drop_fd` (None where it is gone) to `refused/` with its receipt beside it; return the name it has there.

    Bytes that were read are written afresh; what was not read (`data` empty) is itself moved, without following or
    opening it, if it is still the thing of `identity`.

    Raises:
        IntakeError: it could not be done; try again.
    """
    shown = shown_name(name)
    try:
        with open_below(folder, "refused", make=True) as place_fd:
            # The receipt first: then a refused file is never without one.
            filed = _file_receipt(place_fd, shown, orjson.dumps(receipt, option=orjson.OPT_INDENT_2))
            try:
                if data:
                    _create(place_fd, filed, data)
                    _take_content(drop_fd, name, data, claimed)
                else:
                    _take_thing(drop_fd, name, identity, claimed, place_fd, filed)
            except (
                OSError
            ):  # the next try begins anew: it must not find this one's half, and take another number
                for half in (f"{filed}.receipt.json", filed) if data else (f"{filed}.receipt.json",):
                    _unlink_if_there(place_fd, half)
                raise
    except OSError as error:
        raise IntakeError(f"{shown} not moved to refused: {error.strerror or error}") from error
    return filed


def _file_receipt(place_fd: int, shown: str, receipt: bytes) -> str:
    """Write `<free name>.receipt.json`, where also `<free name>` is free; return that name (`x`, `x.1`, `x.2` …)."""

    def named(number: int) -> str:
        return f"{shown}.{number}" if number else shown

    def is_taken(number: int) -> bool:
        return _exists(place_fd, named(number)) or _exists(place_fd, f"{named(number)}.receipt.json")

    # The numbers in use have no gaps, so a thousandth clash costs ten looks, not a thousand.
    low, high = 0, 1
    if is_taken(0):
        while is_taken(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if is_taken(middle) else (low, middle)
        low = high
    while is_taken(low) or not _create(place_fd, f"{named(low)}.receipt.json", receipt):
        low += 1
    return named(low)


def _take_content(drop_fd: int | None, name: str, data: bytes, claimed: Others) -> None:
    """Remove `name` if it holds exactly `data`; anything else in its place stays."""
    if drop_fd is not None:
        with _taken(drop_fd, name, claimed) as hidden:
            if hidden is not None and content(drop_fd, hidden, len(data)) == data:
                os.unlink(hidden, dir_fd=drop_fd)


def _take_thing(
    drop_fd: int | None, name: str, identity: Identity | None, claimed: Others, place_fd: int, filed: str
) -> None:
    """Move `name`, whatever it is, to `filed` if it is still the thing of `identity`."""
    if drop_fd is None or identity is None:
        return
    with _taken(drop_fd, name, claimed) as hidden:
        if hidden is not None:
            found = os.stat(hidden, dir_fd=drop_fd, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == (identity.dev, identity.ino):
                os.rename(hidden, filed, src_dir_fd=drop_fd, dst_dir_fd=place_fd)


@contextmanager
def _taken(drop_fd: int, name: str, claimed: Others) -> Iterator[str | None]:
    """Rename `name` to a hidden name that nobody can guess; what is still there afterwards gets its name back."""
    hidden = _hidden(name)
    try:
        os.rename(name, hidden, src_dir_fd=drop_fd, dst_dir_fd=drop_fd)
    except FileNotFoundError:
        yield None
        return
    try:
        yield hidden
    finally:
        if _exists(drop_fd, hidden):
            give_back(drop_fd, hidden, name, claimed)


def _hidden(name: str) -> str:
    """Return a name that nobody can guess, and that tells a later life what the file was called."""
    hidden = f"{TAKEN_PREFIX}{secrets.token_hex(8)}"
    telling = f"{hidden}.{name}"
    return telling if len(os.fsencode(telling)) <= NAME_BYTES_MAX else hidden


def give_back(drop_fd: int, hidden: str, name: str, claimed: Others = tuple) -> None:
    """Give a taken thing its `name` back, or one like it where that cannot be done without overwriting.

    In the second case a file whose bytes are `claimed` goes: it is filed from those bytes, and under another name it
    would be delivered again.
    """
    try:  # a link fails where a rename would overwrite what has just arrived
        os.link(hidden, name, src_dir_fd=drop_fd, dst_dir_fd=drop_fd, follow_symlinks=False)
    except (
        FileExistsError,
        PermissionError,
    ):  # in use again; or a folder, or (fs.protected_hardlinks) not our file
        others = claimed()
        if others and content(drop_fd, hidden, max(map(len, others))) in others:
            os.unlink(hidden, dir_fd=drop_fd)
        else:  # nobody can guess the name, so nothing is overwritten; and a rename is announced to the inbox
            free = f"{name[:100].removesuffix(SUFFIX)}~{secrets.token_hex(8)}{SUFFIX}"
            os.rename(hidden, free, src_dir_fd=drop_fd, dst_dir_fd=drop_fd)
    else:
        os.unlink(hidden, dir_fd=drop_fd)


def _create(place_fd: int, name: str, data: bytes) -> bool:
    """Make a new file with all of `data` appear under `name` at once; False if the name is in use."""
    part = f".{secrets.token_hex(8)}.tmp"
    try:
        write_new(place_fd, part, data)
        os.link(part, name, src_dir_fd=place_fd, dst_dir_fd=place_fd)
    except FileExistsError:
        return False
    finally:
        _unlink_if_there(place_fd, part)
    return True


def write_new(place_fd: int, name: str, data: bytes) -> None:
    """Write a file that must not exist yet; where the disk does not take all of it, raise OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o644, dir_fd=place_fd)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def return_taken(folder_fd: int) -> None:
    """Put back what a process that died had taken out of a folder and not yet compared with what was judged.

    Under its own name, so that a document which has been judged is recognised and not refused as a second one.
    """
    for name in os.listdir(folder_fd):
        if name.startswith(TAKEN_PREFIX):
            _, _, was = name.removeprefix(TAKEN_PREFIX).partition(".")
            give_back(folder_fd, name, was if was.endswith(SUFFIX) else f"{name[1:101]}{SUFFIX}")


def _exists(folder_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlink_if_there(folder_fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return
