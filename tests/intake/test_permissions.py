"""Who could change what: what the modes say, held against what another user can really do."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hands.intake.permissions import Person, brains, change_risks, drop_folder_risks, may_write, person
from tests.second_user import OTHER, STRANGER, as_user, needs_root, reachable_folder

BRAIN = Person("brain", STRANGER, frozenset({STRANGER, OTHER}))

TRY = """
able = []
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_WRONLY))
        able.append(path)
        continue
    except OSError:
        pass
    try:
        os.rename(path, path + ".taken")
    except OSError:
        continue
    os.rename(path + ".taken", path)
    able.append(path)
print(json.dumps(able))
"""
"""Prints which of the paths it could write to, or take away so as to put something else there."""


@pytest.fixture
def top() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


@needs_root
def test_what_is_said_of_every_mode_is_what_another_user_can_do(top: Path) -> None:
    """Folder and file, each owned by us or given away, each in our group or the Brain's, in many modes."""
    said: dict[str, bool] = {}
    for number, (folder_mode, folder_gid, file_mode, file_uid, file_gid) in enumerate(
        itertools.product(
            (0o755, 0o775, 0o1775, 0o757, 0o1757, 0o730, 0o720), (0, OTHER), (0o600, 0o620, 0o602), (0, STRANGER), (0, OTHER),
        )
    ):  # fmt: skip
        folder = top / str(number)
        folder.mkdir()
        file = folder / "limits.toml"
        file.touch()
        os.chown(file, file_uid, file_gid)
        file.chmod(file_mode)
        os.chown(folder, 0, folder_gid)
        folder.chmod(folder_mode)
        said[str(file)] = may_write(file, BRAIN) is not None
    able = set(json.loads(as_user(TRY, *said, groups=(OTHER,))))
    told = {path for path, may in said.items() if may}
    assert told >= able
    # who owns a file behind a folder that it may not enter is told of all the same: the file could be moved out of it
    assert all(Path(path).stat().st_uid == STRANGER for path in told - able)
    assert 0 < len(able) < len(said)


@pytest.fixture
def ours(top: Path) -> Path:
    """A file that nobody but us can change."""
    folder = top / "config"
    folder.mkdir(mode=0o755)
    file = folder / "limits.toml"
    file.touch(mode=0o644)
    return file


def test_a_file_of_ours_is_safe_until_it_or_a_folder_on_its_way_is_opened(ours: Path) -> None:
    assert may_write(ours, BRAIN) is None
    ours.chmod(0o646)
    assert "chmod o-w" in (may_write(ours, BRAIN) or "")
    ours.chmod(0o644)
    ours.parent.chmod(0o757)
    assert "could replace" in (may_write(ours, BRAIN) or "")
    ours.parent.chmod(0o1757)
    assert may_write(ours, BRAIN) is None, "a sticky folder keeps its files"
    ours.parent.chmod(0o755)
    ours.parent.parent.chmod(0o757)
    assert "could replace" in (may_write(ours, BRAIN) or ""), "a folder further up is as good"
    ours.chmod(0o666)
    ours.parent.parent.chmod(0o700)
    assert may_write(ours, BRAIN) is None, "nobody else finds the way to it"


def test_what_is_not_there_is_whose_who_may_make_it(ours: Path) -> None:
    ours.unlink()
    assert may_write(ours, BRAIN) is None
    ours.parent.chmod(0o1757)
    assert "could make" in (may_write(ours, BRAIN) or "")


def test_a_link_is_as_safe_as_both_its_ends(ours: Path, top: Path) -> None:
    loose = top / "loose"
    loose.mkdir()
    link = loose / "link.toml"
    link.symlink_to(ours)
    assert may_write(link, BRAIN) is None
    loose.chmod(0o777)
    assert "could replace" in (may_write(link, BRAIN) or "")
    loose.chmod(0o755)
    ours.chmod(0o666)
    assert may_write(link, BRAIN) is not None


def test_root_can_do_anything(ours: Path) -> None:
    assert may_write(ours, person(0)) is not None


def test_a_user_the_machine_does_not_know_is_in_no_group() -> None:
    assert person(STRANGER) == Person(str(STRANGER), STRANGER, frozenset())


# --- the drop folder ---------------------------------------------------------------------------------------


@pytest.fixture
def intents(tmp_path: Path) -> Path:
    folder = tmp_path / "intents"
    for name in ("receipts", "archive", "refused", "agents", "agents/momentum"):
        (folder / name).mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("path", "mode", "said"),
    [
        (".", 0o755, []),
        (".", 0o3775, []),
        (".", 0o1775, ["set-gid"]),
        (".", 0o775, ["sticky"]),
        (".", 0o777, ["everybody", "sticky"]),
        ("receipts", 0o775, ["chmod g-w"]),
        ("archive", 0o757, ["everybody"]),
        ("agents", 0o1775, ["chmod g-w"]),
        ("agents/momentum", 0o3770, []),
        ("agents/momentum", 0o775, ["sticky"]),
        ("agents/momentum", 0o3777, ["everybody"]),
    ],
)
def test_what_lets_others_do_more_than_drop_is_named(
    intents: Path, path: str, mode: int, said: list[str]
) -> None:
    (intents / path).chmod(mode)
    risks = drop_folder_risks(intents)
    assert len(risks) == len(said)
    assert all(word in risk for word, risk in zip(said, risks, strict=True))


@needs_root
@pytest.mark.parametrize("path", [".", "receipts", "agents", "agents/momentum"])
def test_a_folder_of_somebody_else_is_named(intents: Path, path: str) -> None:
    os.chown(intents / path, STRANGER, -1)
    (risk,) = drop_folder_risks(intents)
    assert f"belongs to user {STRANGER}" in risk


def test_who_drops_is_who_is_named_or_may_write_and_else_ourselves(intents: Path) -> None:
    own = os.geteuid()
    assert [who.uid for who in brains(intents, {})] == [own]
    assert [who.uid for who in brains(intents, {"momentum": None, "default": STRANGER})] == [STRANGER]
    (intents / "agents" / "momentum").chmod(0o757)
    assert own not in [who.uid for who in brains(intents, {"momentum": None})]


@needs_root
def test_root_in_the_group_that_drops_is_no_brain(intents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could do anything whatever group it is in, so it would be found in everybody's way; named, it is taken at its word."""
    os.chown(intents, -1, 0)
    intents.chmod(0o3775)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    assert [who.uid for who in brains(intents, {})] == [STRANGER]
    assert [who.uid for who in brains(intents, {"default": 0})] == [0]


def test_a_brain_without_a_user_of_its_own_could_change_the_limits(ours: Path) -> None:
    (risk,) = change_risks([ours], [person(os.geteuid())])
    assert "no user of its own" in risk
    assert change_risks([ours], [BRAIN]) == []
    ours.chmod(0o666)
    assert len(change_risks([ours, ours], [BRAIN, BRAIN])) == 1
