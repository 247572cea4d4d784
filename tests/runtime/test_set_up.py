"""Setting up: made once, the same ever after, nothing overwritten, and by no trick of a Brain anything of somebody else's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hands.intake.permissions import Person, drop_folder_risks, person
from hands.runtime.set_up import SetUpError, Step, Wanted, agent_folder, configuration, folders, set_up
from tests.second_user import OTHER, STRANGER, needs_root, reachable_folder

US = person(os.geteuid())


@pytest.fixture
def top() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


def everything(top: Path, gid: int | None = None) -> list[Wanted]:
    found = configuration(top / "config" / "hands.toml", top / "config" / "risk_limits.toml")
    found += folders(top / "intents", top / "var", gid)
    return [*found, agent_folder(top / "intents", "momentum", gid)]


def do(wanted: list[Wanted], owner: Person = US, *, dry_run: bool = False) -> list[Step]:
    return [step for step in set_up(wanted, owner, dry_run=dry_run) if step.detail]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_dry_run_says_the_same_and_does_nothing(top: Path) -> None:
    said = do(everything(top), dry_run=True)
    assert list(top.iterdir()) == []
    assert said == do(everything(top))


def test_it_is_made_as_it_shall_be_and_doing_it_again_changes_nothing(top: Path, root: Path) -> None:
    assert len(do(everything(top))) == 10
    assert (mode(top / "intents"), mode(top / "var")) == (0o3775, 0o700)
    assert (top / "config" / "risk_limits.toml").read_bytes() == (
        root / "config" / "risk_limits.toml"
    ).read_bytes()
    assert drop_folder_risks(top / "intents") == []
    assert do(everything(top)) == []


def test_what_is_there_is_never_overwritten(top: Path) -> None:
    (top / "config").mkdir()
    (top / "config" / "hands.toml").write_text("mine")
    (top / "config" / "hands.toml").chmod(0o600)
    do(everything(top))
    assert (top / "config" / "hands.toml").read_text() == "mine"
    assert mode(top / "config" / "hands.toml") == 0o600


def test_the_drop_folder_of_a_clone_stays_closed_where_no_brain_is_named(top: Path) -> None:
    (top / "intents").mkdir(mode=0o755)
    do(everything(top))
    assert mode(top / "intents") == 0o755


@pytest.mark.parametrize("before", [0o777, 0o775, 0o2775])
def test_a_drop_folder_that_is_open_is_made_one_for_dropping_only(top: Path, before: int) -> None:
    (top / "intents").mkdir()
    (top / "intents").chmod(before)
    do(everything(top))
    assert mode(top / "intents") == 0o3775


def test_loose_folders_within_are_closed(top: Path) -> None:
    do(everything(top))
    for name in ("receipts", "agents"):
        (top / "intents" / name).chmod(0o777)
    (top / "var").chmod(0o755)
    assert len(do(everything(top))) == 3
    assert drop_folder_risks(top / "intents") == []
    assert mode(top / "var") == 0o700


@pytest.mark.parametrize("name", ["intents/receipts", "intents/agents/momentum", "var"])
def test_something_else_in_the_place_of_a_folder_is_named_and_left(top: Path, name: str) -> None:
    elsewhere = top / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (top / name).parent.mkdir(parents=True, exist_ok=True)
    (top / name).write_text("")
    with pytest.raises(SetUpError, match="is not a folder"):
        do(everything(top))
    if name.startswith("intents"):  # where these lead, somebody else might choose
        (top / name).unlink()
        (top / name).symlink_to(elsewhere)
        with pytest.raises(SetUpError, match="is not a folder"):
            do(everything(top))
        assert mode(elsewhere) == 0o755


@needs_root
def test_a_brains_group_may_drop_and_each_agents_group_only_in_its_own_folder(top: Path) -> None:
    do(folders(top / "intents", top / "var", STRANGER))
    do([agent_folder(top / "intents", "momentum", OTHER)])
    momentum = (top / "intents" / "agents" / "momentum").stat()
    assert (stat.S_IMODE(momentum.st_mode), momentum.st_gid) == (0o3770, OTHER)
    assert (top / "intents").stat().st_gid == STRANGER
    assert drop_folder_risks(top / "intents") == []
    assert do(folders(top / "intents", top / "var", None)) == [], "without a name nothing is taken away"


@needs_root
def test_an_owner_is_given_everything_but_what_a_stranger_has_filled(top: Path) -> None:
    do(everything(top))
    somebody = Person("somebody", OTHER, frozenset({OTHER}))
    do(everything(top), somebody)
    assert {(top / "intents" / name).stat().st_uid for name in (".", "receipts", "agents/momentum")} == {
        OTHER
    }
    assert (top / "config" / "hands.toml").stat().st_uid == os.geteuid(), (
        "files that are there are not given away"
    )
    os.chown(top / "intents" / "archive", STRANGER, -1)
    (top / "intents" / "archive" / "2026-01-05").mkdir()
    with pytest.raises(SetUpError, match="is not empty"):
        do(everything(top), somebody)


@needs_root
def test_who_may_not_do_it_is_told_how_it_is_done(top: Path) -> None:
    do(everything(top))
    os.seteuid(STRANGER)
    try:
        with pytest.raises(SetUpError, match="sudo hands init --owner"):
            do(folders(top / "intents", top / "var", OTHER))
    finally:
        os.seteuid(0)
