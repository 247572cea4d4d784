"""The folders that documents are dropped into: made, opened, watched, and found again when somebody replaced them.

Owns the folder descriptors and which agent a folder stands for. May not look at a document. The one idea: a folder is
the file system object that was opened, not its path; when the path leads elsewhere by now (deleted and made again), the
new one is opened and watched instead.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hands.core.vocab import Code
from hands.intake import reading
from hands.intake.inotify import InotifyWatcher, PollingWatcher
from hands.intake.reading import IntakeError

DEFAULT_AGENT = "default"
_DROP_ONLY = stat.S_ISVTX | stat.S_ISGID

OWN_FOLDERS = ("receipts", "archive", "refused", "agents")

FOLDERS_MAX = 256
"""Agents' folders looked into; who may make folders there must not be able to use up the kernel's watches."""


@dataclass(eq=False)
class Drop:
    """One open drop folder; `refusal` is why nothing in it may be read, `fd` is -1 once it is gone."""

    agent: str
    path: Path
    fd: int
    watch: int
    key: tuple[int, int]
    owner: int | None
    known: bool

    @property
    def refusal(self) -> tuple[Code, str] | None:
        if not self.known:
            return Code.UNKNOWN_AGENT, f"no agent {self.agent!r} is configured"
        if os.fstat(self.fd).st_mode & stat.S_IWOTH:
            return Code.UNAUTHORISED, "its folder is writable by everybody"
        return None


class DropFolders:
    """The root folder (agent "default") and `agents/<agent>/` below it.

    `agents` gives the user id that an agent's files must belong to, None for any; folders of others are watched too,
    so that what is dropped there gets an answer.
    """

    def __init__(
        self, root: Path, agents: Mapping[str, int | None], watcher: InotifyWatcher | PollingWatcher
    ) -> None:
        self.root = root
        self._agents = dict(agents)
        self._watcher = watcher
        self._drops: dict[int, Drop] = {}
        self._by_path: dict[Path, Drop] = {}
        self._parent = -1
        self._parent_key = (0, 0)

    def __iter__(self) -> Iterator[Drop]:
        return iter(list(self._drops.values()))

    def of(self, watch: int) -> Drop | None:
        """Return the folder of a watch; None where it is gone or is `agents/` itself."""
        return self._drops.get(watch)

    def is_parent(self, watch: int) -> bool:
        """Whether an event of that watch says that an agent's folder came or went."""
        return watch == self._parent

    def look_after(self) -> None:
        """Make what is missing, open and watch what is new or was replaced, forget what is gone.

        Raises:
            IntakeError: something else stands in the place of a folder of ours, or everybody may write to the root.
            OSError: a folder cannot be made, opened or watched.
        """
        make_drop_folder(self.root)
        if self.root.stat().st_mode & stat.S_IWOTH:
            raise IntakeError(f"{self.root} is writable by everybody: chmod o-w {self.root}")
        for name in OWN_FOLDERS:
            _make(self.root / name, 0o755)
        parent = self.root / "agents"
        for agent in self._agents:
            if agent != DEFAULT_AGENT:
                _make(parent / agent, 0o775)
        self._open(self.root, DEFAULT_AGENT, self._agents.get(DEFAULT_AGENT), known=True)
        self._watch_parent(parent)
        seen = {self.root}
        for path in sorted(_folders_in(parent), key=lambda path: (path.name not in self._agents, path.name))[
            :FOLDERS_MAX
        ]:
            known = path.name in self._agents and path.name != DEFAULT_AGENT
            label = (
                "agents/default" if path.name == DEFAULT_AGENT else reading.shown_name(path.name, suffix="")
            )
            try:
                self._open(path, label, self._agents.get(path.name), known=known)
            except OSError:
                if known:
                    raise
                continue  # a stranger's folder that cannot be opened gets no answer, and must not disturb the others
            seen.add(path)
        for drop in self:
            if drop.path not in seen:
                self.forget(drop)

    def forget(self, drop: Drop) -> None:
        """Close a folder that is gone."""
        if drop.fd >= 0:
            self._watcher.remove(drop.watch)
            os.close(drop.fd)
            drop.fd = -1
            del self._drops[drop.watch]
            del self._by_path[drop.path]

    def close(self) -> None:
        for drop in self:
            self.forget(drop)

    def _open(self, path: Path, agent: str, owner: int | None, *, known: bool) -> None:
        follow = path == self.root  # where the root is, is the operator's choice; below it nothing leads away
        found = path.stat() if follow else path.lstat()
        former = self._by_path.get(path)
        if former is not None:
            if former.key == (found.st_dev, found.st_ino):
                return
            self.forget(former)
        fd = reading.open_folder_fd(path, follow=follow)
        try:
            opened = os.fstat(fd)
            watch = self._watcher.add(fd, path)
        except OSError:
            os.close(fd)
            raise
        drop = Drop(agent, path, fd, watch, (opened.st_dev, opened.st_ino), owner, known)
        self._drops[watch] = self._by_path[path] = drop

    def _watch_parent(self, path: Path) -> None:
        with reading.open_folder(path) as fd:
            opened = os.fstat(fd)
            if (opened.st_dev, opened.st_ino) != self._parent_key:
                if self._parent >= 0:
                    self._watcher.remove(self._parent)
                self._parent = self._watcher.add(fd, path)
                self._parent_key = (opened.st_dev, opened.st_ino)


def drop_folder_risks(root: Path) -> list[str]:
    """Return what lets another user do more in the drop folder than drop documents; nothing where it is still to be made.

    With real money each of these is a reason not to start; alone on a machine with paper money they are worth a warning.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        found = root.stat()
    except FileNotFoundError:
        return []
    risks = []
    if found.st_uid != os.geteuid():
        risks.append(f"{root} belongs to user {found.st_uid}, not to the one that Hands runs as")
    if found.st_mode & stat.S_IWOTH:
        risks.append(f"{root} is writable by everybody: chmod o-w {root}")
    if found.st_mode & _DROP_ONLY != _DROP_ONLY:
        risks.append(f"{root} is not sticky and set-gid: chmod +t,g+s {root}")
    return risks


def make_drop_folder(root: Path) -> None:
    """Make the drop folder, if it is not there, so that others of its group can drop and do nothing else."""
    try:
        root.mkdir(parents=True)
    except FileExistsError:
        if not root.is_dir():
            raise
    else:
        root.chmod(0o775 | _DROP_ONLY)


def _make(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise IntakeError(f"{path} must be a folder of its own") from None


def _folders_in(parent: Path) -> list[Path]:
    with os.scandir(parent) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        ]
