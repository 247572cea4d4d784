"""The folders that documents are dropped into: made, opened, watched, and found again when somebody replaced them.

Owns the folder descriptors and which agent a folder stands for. May not look at a document. The one idea: a folder is
the file system object that was opened, not its path, and whose it is, is asked of that object; when the path leads
elsewhere by now (deleted and made again), the new one is opened and watched instead.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hands.core.vocab import Code
from hands.intake import reading
from hands.intake.inotify import Watcher
from hands.intake.permissions import OWN_FOLDERS
from hands.intake.places import DROP_MODE, OWN_MODE, make_drop_folder, make_folder, open_folder_fd
from hands.intake.reading import IntakeError

DEFAULT_AGENT = "default"

FOLDERS_MAX = 256
"""Agents' folders looked into; who may make folders there must not be able to use up the kernel's watches."""

BEGUN_MAX = 256
"""Files of one folder known to be open for writing; of more than that the oldest counts as quiet files do."""


@dataclass(eq=False)
class Drop:
    """One open drop folder; `refusal` is why nothing in it may be read, `fd` is -1 once it is gone.

    `owner` is the user id that its files must have, None for any; `owners` whom the folder itself may belong to, None
    for anybody. `watch` is below zero where the kernel does not tell of it. `begun` are the files (name -> inode) that
    the kernel told were made or written to, and not yet that they were closed.
    """

    agent: str
    path: Path
    fd: int
    watch: int
    key: tuple[int, int]
    owner: int | None
    owners: frozenset[int] | None
    known: bool
    begun: dict[str, int] = field(default_factory=dict)

    def begin(self, name: str, *, written: bool) -> bool:
        """Take note of a name that was made or `written` to just now; return whether it is a file that will be closed.

        What is new and not empty may have been linked here whole, which nobody will ever close; where somebody writes it,
        the kernel tells of that too.
        """
        if written and name in self.begun:
            return True
        self.begun.pop(name, None)
        found = reading.looked_at(self.fd, name)
        if found is None or not stat.S_ISREG(found.st_mode):
            return False
        if written or not found.st_size:
            self.begun[name] = found.st_ino
            if len(self.begun) > BEGUN_MAX:
                del self.begun[next(iter(self.begun))]
        return True

    def is_begun(self, name: str, inode: int) -> bool:
        """Whether that very file was made here and is not closed yet, however long nothing was written to it."""
        return self.begun.get(name) == inode

    @property
    def refusal(self) -> tuple[Code, str] | None:
        if not self.known:
            return Code.UNKNOWN_AGENT, f"no agent {self.agent!r} is configured"
        found = os.fstat(self.fd)
        if found.st_mode & stat.S_IWOTH:
            return Code.UNAUTHORISED, "its folder is writable by everybody"
        if self.owners is not None and found.st_uid not in self.owners:
            return Code.UNAUTHORISED, f"its folder belongs to user {found.st_uid}, who is not this agent's"
        return None


class DropFolders:
    """The root folder (agent "default") and `agents/<agent>/` below it.

    `agents` gives the user id that an agent's files must belong to, None for any; folders of others are watched too,
    so that what is dropped there gets an answer. An agent's folder belongs to that user, to Hands, to root, or to who
    owns the root folder.
    """

    def __init__(self, root: Path, agents: Mapping[str, int | None], watcher: Watcher) -> None:
        self.root = root
        self.unwatched: str | None = None
        self._agents = dict(agents)
        self._watcher = watcher
        self._drops: dict[int, Drop] = {}
        self._by_path: dict[Path, Drop] = {}
        self._parent_watch = -1
        self._parent_fd = -1
        self._parent_key = (0, 0)
        self._next_unwatched = -2

    def __iter__(self) -> Iterator[Drop]:
        return iter(list(self._drops.values()))

    def of(self, watch: int) -> Drop | None:
        """Return the folder of a watch; None where it is gone or is `agents/` itself."""
        return self._drops.get(watch)

    def is_parent(self, watch: int) -> bool:
        """Whether an event of that watch says that an agent's folder came or went."""
        return watch == self._parent_watch

    def look_after(self) -> None:
        """Make what is missing, open and watch what is new or was replaced, forget what is gone.

        What cannot be watched is open all the same, and `unwatched` says why the kernel does not tell of it.

        Raises:
            IntakeError: something else stands in the place of a folder of ours, or everybody may write to the root.
            OSError: a folder cannot be made or opened.
        """
        self.unwatched = None
        make_drop_folder(self.root)
        root = self._open(None, self.root, DEFAULT_AGENT, known=True)
        found = os.fstat(root.fd)
        if found.st_mode & stat.S_IWOTH:
            raise IntakeError(f"{self.root} is writable by everybody: chmod o-w {self.root}")
        for name in OWN_FOLDERS:
            make_folder(root.fd, name, OWN_MODE)
        self._open_parent(root.fd)
        for agent in self._agents:
            if agent != DEFAULT_AGENT:
                make_folder(self._parent_fd, agent, DROP_MODE)
        seen = {self.root} | set(self._open_agents(found.st_uid))
        for drop in self:
            if drop.path not in seen:
                self.forget(drop)

    def _open_agents(self, root_owner: int) -> Iterator[Path]:
        """Open the folders below `agents/`, configured ones first; yield their paths."""
        names = sorted(_folders_in(self._parent_fd), key=lambda name: (name not in self._agents, name))
        for name in names[:FOLDERS_MAX]:
            path = self.root / "agents" / name
            known = name in self._agents and name != DEFAULT_AGENT
            label = "agents/default" if name == DEFAULT_AGENT else reading.shown_name(name, suffix="")
            owners = frozenset({0, os.geteuid(), root_owner, self._agents.get(name) or 0})
            try:
                self._open(self._parent_fd, path, label, known=known, owners=owners)
            except OSError:
                if known:
                    raise
                continue  # a stranger's folder that cannot be opened gets no answer, and must not disturb the others
            yield path

    def forget(self, drop: Drop) -> None:
        """Close a folder that is gone."""
        if drop.fd >= 0:
            if drop.watch >= 0:
                self._watcher.remove(drop.watch)
            os.close(drop.fd)
            drop.fd = -1
            del self._drops[drop.watch]
            del self._by_path[drop.path]

    def forget_begun(self) -> None:
        """The kernel has lost events: nobody knows any more which files are still being written."""
        for drop in self:
            drop.begun.clear()

    def close(self) -> None:
        for drop in self:
            self.forget(drop)
        self._close_parent()

    def _open(
        self, at: int | None, path: Path, agent: str, *, known: bool, owners: frozenset[int] | None = None
    ) -> Drop:
        """Return the open folder at `path`, which is its last name below the folder `at` where that is given."""
        place = path if at is None else path.name
        found = os.stat(place, dir_fd=at, follow_symlinks=False)
        former = self._by_path.get(path)
        if former is not None:
            if former.key == (found.st_dev, found.st_ino):
                if former.watch < 0:
                    self._watch_again(former)
                return former
            self.forget(former)
        fd = open_folder_fd(place, at=at)
        opened = os.fstat(fd)
        key = opened.st_dev, opened.st_ino
        owner = self._agents.get(DEFAULT_AGENT if at is None else path.name)
        drop = Drop(agent, path, fd, self._watch(fd, path), key, owner, owners, known)
        self._drops[drop.watch] = self._by_path[path] = drop
        return drop

    def _watch_again(self, drop: Drop) -> None:
        del self._drops[drop.watch]
        drop.watch = self._watch(drop.fd, drop.path)
        self._drops[drop.watch] = drop

    def _watch(self, fd: int, path: Path) -> int:
        """Return the kernel's watch on a folder, or a number below zero where it gives none."""
        try:
            return self._watcher.add(fd, path)
        except OSError as error:
            self.unwatched = f"{path}: {error.strerror or error}"
            self._next_unwatched -= 1
            return self._next_unwatched

    def _open_parent(self, root_fd: int) -> None:
        fd = open_folder_fd("agents", at=root_fd)
        opened = os.fstat(fd)
        if (opened.st_dev, opened.st_ino) == self._parent_key:
            os.close(fd)
            if self._parent_watch < 0:
                self._parent_watch = self._watch(self._parent_fd, self.root / "agents")
            return
        self._close_parent()
        self._parent_fd, self._parent_key = fd, (opened.st_dev, opened.st_ino)
        self._parent_watch = self._watch(fd, self.root / "agents")

    def _close_parent(self) -> None:
        if self._parent_fd >= 0:
            if self._parent_watch >= 0:
                self._watcher.remove(self._parent_watch)
            os.close(self._parent_fd)
            self._parent_fd, self._parent_watch, self._parent_key = -1, -1, (0, 0)


def _folders_in(parent_fd: int) -> list[str]:
    with os.scandir(parent_fd) as entries:
        return [
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        ]
