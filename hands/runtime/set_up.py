"""Setting up: the files and folders that Hands needs, with the owners and modes that let a Brain drop and nothing else.

Owns what `hands init` makes. May not overwrite a file, and may not edit one: what belongs into the limits file is said,
not written. The one idea: what is wanted is a list, and each item is compared with what is there; so doing it twice
changes nothing, and a dry run is the same comparison without the change.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hands.intake.permissions import DROP_ONLY, OWN_FOLDERS, Person

SHIPPED = ("hands.toml", "risk_limits.toml")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READABLE = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH


class SetUpError(Exception):
    """Something stands in the way; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was done (or, in a dry run, would be) about one path. `detail` is empty where nothing had to be."""

    path: str
    detail: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A folder or file as it shall be; of one that is there only `require` and `forbid` are changed.

    `shared`: a folder into which others than its owner may be let, and then only to drop. `kept`: once it is there it is
    its owner's business.
    """

    path: Path
    mode: int
    require: int = 0
    forbid: int = 0
    gid: int | None = None
    shared: bool = False
    kept: bool = False
    is_file: bool = False
    content: bytes = b""


def shipped(name: str) -> bytes:
    """Return a configuration file as it is shipped: beside the code in a clone, inside the package of a wheel.

    Raises:
        SetUpError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package / "shipped", package.parent / "config"):
        if (place / name).is_file():
            return (place / name).read_bytes()
    raise SetUpError(f"{name} was not shipped with this package")


def configuration(config: Path, limits: Path) -> list[Wanted]:
    """Return both configuration files; the Brain may read them and no more."""
    files = [(config, SHIPPED[0]), (limits, SHIPPED[1])]
    folders = [Wanted(folder, 0o755, kept=True) for folder in dict.fromkeys(path.parent for path, _ in files)]
    return folders + [
        Wanted(path, 0o644, kept=True, is_file=True, content=b"" if path.exists() else shipped(name))
        for path, name in files
    ]


def folders(intents: Path, state: Path, brain_gid: int | None) -> list[Wanted]:
    """Return the drop folder with what is in it, and the state directory. `brain_gid`: whose members may drop."""
    open_to = 0 if brain_gid is None else DROP_ONLY | stat.S_IRWXG
    private = stat.S_IWGRP | stat.S_IWOTH
    intents, state = (path.resolve() if path.is_symlink() else path for path in (intents, state))
    return [
        Wanted(intents, 0o775 | DROP_ONLY, open_to | READABLE, stat.S_IWOTH, brain_gid, shared=True),
        *(Wanted(intents / name, 0o755, READABLE, private) for name in OWN_FOLDERS),
        Wanted(state, 0o700, 0, 0o077),
    ]


def agent_folder(intents: Path, agent: str, gid: int | None) -> Wanted:
    """Return an agent's own folder: its group drops and looks, nobody else does either."""
    path = intents / "agents" / agent
    if gid is None:
        return Wanted(path, 0o755, 0, stat.S_IWGRP | stat.S_IWOTH)
    mode = DROP_ONLY | stat.S_IRWXU | stat.S_IRWXG
    return Wanted(path, mode, mode, stat.S_IRWXO, gid, shared=True)


def set_up(wanted: list[Wanted], owner: Person, *, dry_run: bool = False) -> Iterator[Step]:
    """Yield a step for each item, done unless it is a dry run.

    Raises:
        SetUpError: something else stands in the place of an item, or it may not be changed by who runs this.
    """
    for item in wanted:
        try:
            yield Step(str(item.path), ", ".join(_settle(item, owner, dry_run=dry_run)))
        except OSError as error:
            raise SetUpError(f"{item.path}: {error.strerror or error}{_cure(item, owner, error)}") from error


def _settle(item: Wanted, owner: Person, *, dry_run: bool) -> list[str]:
    """Compare one item with what is there, bring it there, and say in what it differed."""
    try:
        found = item.path.stat() if item.kept else item.path.lstat()
    except FileNotFoundError:
        if not dry_run:
            _make(item, owner)
        return [f"made, {'' if item.is_file else 'a folder, '}mode {item.mode:04o}"]
    kind = stat.S_ISREG if item.is_file else stat.S_ISDIR
    if not kind(found.st_mode):
        raise SetUpError(f"{item.path} is in the way: it is not a {'file' if item.is_file else 'folder'}")
    if item.kept:
        return []
    fd = os.open(item.path, _FOLDER)  # from here on this very folder, whatever the path leads to
    try:
        found = os.fstat(fd)
        mode = stat.S_IMODE(found.st_mode)
        right = (mode | item.require) & ~item.forbid
        if item.shared and right & stat.S_IWGRP:
            right |= DROP_ONLY
        said = []
        if found.st_uid != owner.uid:
            if not item.shared and found.st_uid != os.geteuid() and os.listdir(fd):  # noqa: PTH208  (a descriptor)
                raise SetUpError(
                    f"{item.path} belongs to user {found.st_uid} and is not empty: look at what is in it, then remove "
                    f"it or sudo chown -R {owner.name} {item.path}"
                )
            said.append(f"owner {found.st_uid} -> {owner.uid}")
        if item.gid not in (None, found.st_gid):
            said.append(f"group {found.st_gid} -> {item.gid}")
        if mode != right:
            said.append(f"mode {mode:04o} -> {right:04o}")
        if said and not dry_run:
            _own(fd, item, owner)
            _set_mode(fd, right)
        return said
    finally:
        os.close(fd)


def _make(item: Wanted, owner: Person) -> None:
    if item.is_file:
        fd = os.open(item.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    else:
        item.path.mkdir(parents=True)
        fd = os.open(item.path, _FOLDER)
    try:
        if item.is_file:
            os.write(fd, item.content)
        _own(fd, item, owner)
        _set_mode(fd, item.mode)
    finally:
        os.close(fd)


def _own(fd: int, item: Wanted, owner: Person) -> None:
    found = os.fstat(fd)
    uid = -1 if found.st_uid == owner.uid else owner.uid
    gid = -1 if item.gid is None or item.gid == found.st_gid else item.gid
    if (uid, gid) != (-1, -1):
        os.fchown(fd, uid, gid)


def _set_mode(fd: int, mode: int) -> None:
    os.fchmod(fd, mode)
    if (
        stat.S_IMODE(os.fstat(fd).st_mode) != mode
    ):  # the kernel drops set-gid for a group that the caller is not in
        raise PermissionError(errno.EPERM, f"mode {mode:04o} was not taken")


def _cure(item: Wanted, owner: Person, error: OSError) -> str:
    if not isinstance(error, PermissionError):
        return ""
    group = "" if item.gid is None else f":{item.gid}"
    return f"; it takes root: sudo hands init --owner {owner.name} ... (or sudo chown {owner.uid}{group} {item.path})"
