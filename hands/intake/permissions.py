"""Who may do what to our files: whether the Brain's user can drop documents and do nothing else.

Owns what owners, modes and folders on the way allow another user, and the rules for the drop folder and for files that
no Brain may change. May not change anything (`hands init` does). The one idea: whoever owns a thing, may write to it, or
may put another in its place somewhere on the path that leads to it, can change it; every other question comes down to this.

POSIX owners and modes are read, and of access lists only that there is one; capabilities and mounts are not looked at.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

DROP_ONLY = stat.S_ISVTX | stat.S_ISGID
"""Sticky: only who owns a file may take it away. Set-gid: what is dropped belongs to the folder's group."""

OWN_FOLDERS = ("receipts", "archive", "refused", "agents")
_WRITE, _SEARCH = 2, 1
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
"""By others than its owner."""


class Person(NamedTuple):
    """A Unix user, with every group it is in."""

    name: str
    uid: int
    gids: frozenset[int]


def person(uid: int) -> Person:
    """Return the user of that id; one that the machine does not know is in no group."""
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return Person(str(uid), uid, frozenset())
    return Person(known.pw_name, uid, frozenset(os.getgrouplist(known.pw_name, known.pw_gid)))


def _may(who: Person, found: os.stat_result, wanted: int) -> bool:
    """Whether a mode gives `who` all of `wanted`; its owner can give itself anything."""
    if who.uid in (0, found.st_uid):
        return True
    granted = found.st_mode >> 3 if found.st_gid in who.gids else found.st_mode
    return granted & wanted == wanted


def may_write(path: Path, who: Person) -> str | None:
    """Return how `who` could change what stands at `path`, or put something else there; None if in no way.

    What does not exist can be changed by whoever may make it. Symbolic links are looked at on both ends.

    Raises:
        OSError: it, or what is on its way, cannot be looked at.
    """
    for place in dict.fromkeys((path.absolute(), path.resolve())):
        reason = _on_the_way(place, who)
        if reason is not None:
            return reason
    try:
        found = path.stat()
    except FileNotFoundError:
        return None  # whether it could be made has been looked at on the way
    if found.st_uid == who.uid:
        return f"{who.name} owns {path}"
    if not _reaches(path.resolve(), who):
        return None
    if _may(who, found, _WRITE):
        return f"{path} is writable for {who.name}: chmod {'o-w' if found.st_mode & stat.S_IWOTH else 'g-w'} {path}"
    if found.st_mode & stat.S_IWGRP and _has_access_list(path):
        return f"{path} has an access list that lets others write: setfacl -b {path}"
    return None


def may_drop(folder: Path, who: Person) -> bool:
    """Whether `who` finds the way to a folder and may make files in it."""
    found = _stat(folder)
    return found is not None and _reaches(folder.resolve(), who) and _may(who, found, _WRITE | _SEARCH)


def _on_the_way(path: Path, who: Person) -> str | None:
    """Return how `who` could replace one of the folders that lead to `path`, or `path` itself."""
    for part in (path, *path.parents):
        folder = part.parent
        try:
            held = folder.stat()
        except FileNotFoundError:
            continue
        if folder == part or not _may(who, held, _WRITE | _SEARCH) or not _reaches(folder, who):
            continue
        try:
            found = part.lstat()
        except FileNotFoundError:
            return f"{who.name} could make {part}"
        if not held.st_mode & stat.S_ISVTX or who.uid in (0, held.st_uid, found.st_uid):
            return f"{who.name} could replace {part}: {folder} is writable for {who.name}"
    return None


def _reaches(path: Path, who: Person) -> bool:
    """Whether `who` may pass through every folder that leads to `path`."""
    return all(_may(who, found, _SEARCH) for found in map(_stat, path.parents) if found is not None)


def _has_access_list(path: Path) -> bool:
    if not hasattr(os, "listxattr"):
        return False
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:  # a file system without them
        return False


# --- the drop folder -------------------------------------------------------------------------------------------


def brains(root: Path, agents: Mapping[str, int | None]) -> list[Person]:
    """Return who drops documents: the users that the limits file names, and the groups that may write.

    Where that is nobody but Hands' own user, it is that one: a Brain that shares it can do whatever Hands can.

    Raises:
        OSError: a folder cannot be looked at.
    """
    own = os.geteuid()
    uids = {uid for uid in agents.values() if uid is not None}
    for folder in (root, *(root / "agents" / agent for agent in agents)):
        found = _stat(folder)
        if found is not None and found.st_mode & stat.S_IWGRP:
            uids |= _members(found.st_gid) - {0}  # root can do anything, whatever group it is in
        if found is not None and found.st_mode & stat.S_IWOTH:
            uids.add(_NOBODY)
    return [person(uid) for uid in sorted(uids - {own}) or [own]]


_NOBODY = 65_534
"""Stands for everybody where everybody may write."""


def _members(gid: int) -> set[int]:
    """Return the user ids in a group, also of those whose first group it is."""
    try:
        named = grp.getgrgid(gid).gr_mem
    except KeyError:
        named = []
    everybody = pwd.getpwall()
    return {user.pw_uid for user in everybody if user.pw_gid == gid or user.pw_name in named}


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def drop_folder_risks(root: Path) -> list[str]:
    """Return what lets another user do more in the drop folder than drop documents; nothing where it is still to be made.

    With real money each of these is a reason not to start; with paper money they are worth a warning. A folder into
    which no other user may write needs no sticky bit.

    Raises:
        OSError: it cannot be looked at.
    """
    found = _stat(root)
    if found is None:
        return []
    risks = list(_risks_of(root, found))
    if found.st_mode & _WRITABLE and found.st_mode & DROP_ONLY != DROP_ONLY:
        risks.append(f"{root} is not sticky and set-gid: chmod +t,g+s {root}")
    for name in OWN_FOLDERS:
        below = _stat(root / name)
        if below is not None:
            risks.extend(_risks_of(root / name, below, shared=False))
    if (root / "agents").is_dir():
        for entry in sorted((root / "agents").iterdir()):
            below = entry.lstat()
            if stat.S_ISDIR(below.st_mode):
                risks.extend(_risks_of(entry, below))
                if below.st_mode & _WRITABLE and not below.st_mode & stat.S_ISVTX:
                    risks.append(f"{entry} is not sticky: chmod +t {entry}")
    return risks


def _risks_of(folder: Path, found: os.stat_result, *, shared: bool = True) -> Iterator[str]:
    """Yield what is wrong with one folder of ours; into a `shared` one others may drop."""
    if found.st_uid != os.geteuid():
        yield f"{folder} belongs to user {found.st_uid}, not to the one that Hands runs as"
    if found.st_mode & stat.S_IWOTH:
        yield f"{folder} is writable by everybody: chmod o-w {folder}"
    if found.st_mode & stat.S_IWGRP and not shared:
        yield f"{folder} is writable by a group: chmod g-w {folder}"


def change_risks(paths: Iterable[Path], people: Iterable[Person]) -> list[str]:
    """Return how those who drop documents could change files that are the operator's: the limits, the configuration.

    Raises:
        OSError: a file cannot be looked at.
    """
    own, people, risks = os.geteuid(), list(people), []
    for path in paths:
        if any(who.uid == own for who in people):
            risks.append(
                f"{path} could be changed by who drops documents: the Brain has no user of its own "
                "(hands init --brain-user USER)"
            )
            continue
        risks.extend(reason for who in people if (reason := may_write(path, who)) is not None)
    return list(dict.fromkeys(risks))
