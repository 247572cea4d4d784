"""The limits file on disk: what is no limits file is named, and every way of changing one is noticed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hands.core.events import LimitsRead
from hands.core.limit_keys import ACCOUNT_WIDE, LIMIT_KEYS
from hands.core.limits import read_limits
from hands.core.units import NS_PER_S, Ns
from hands.intake import permissions
from hands.runtime import config
from hands.runtime.config import ConfigError, Options, Unsafe, load
from hands.runtime.limits_file import (
    LIMITS_BYTES_MAX,
    LimitsUnreadable,
    LimitsWatch,
    read_limits_text,
    replace_limits_text,
)

KEYS = {"APCA_API_KEY_ID": "PKTEST", "APCA_API_SECRET_KEY": "sekrit-0123456789"}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may look into, which no `tmp_path` is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def path(root: Path, place: Path) -> Path:
    found = place / "risk_limits.toml"
    found.write_bytes((root / "config" / "risk_limits.toml").read_bytes())
    return found


# --- reading -----------------------------------------------------------------------------------------------


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_large(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(100 * 1024 * 1024)  # sparse: costs nothing


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "No such file"),
        (make_folder, "not a regular file"),
        (make_fifo, "not a regular file"),
        (make_large, f"larger than {LIMITS_BYTES_MAX} bytes"),
        (lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()), "byte order mark"),
        (lambda path: path.write_bytes(path.read_bytes() + b"# \xff\n"), "not UTF-8"),
        (lambda path: path.write_bytes(path.read_text().encode("utf-16")), "not UTF-8"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "not a regular file"),
        (lambda path: (path.unlink(), path.symlink_to(path.name)), "symbolic links"),
    ],
)
def test_what_is_no_limits_file_refuses_to_start_and_says_why(
    path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(path)
    with pytest.raises(LimitsUnreadable, match=words):
        read_limits_text(path)


def test_two_hundred_agents_have_room_with_every_limit_of_their_own(path: Path) -> None:
    own = "".join(f"{key.line}\n" for key in LIMIT_KEYS if key.tighter and key.name not in ACCOUNT_WIDE)
    capable = 'symbols = ["AAPL", "BTC/USD"]\ndirections = ["LONG"]\nexpires = "2030-12-31T22:00:00Z"\n'
    with path.open("a") as file:
        file.writelines(f"\n[agents.agent-{number:03}]\n{own}{capable}" for number in range(200))
    assert len(read_limits(read_limits_text(path)).agents) == 200


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_says_so(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(LimitsUnreadable, match="Permission denied"):
        read_limits_text(path)


def test_an_empty_file_lacks_everything(path: Path, options: Options) -> None:
    make_empty(path)
    with pytest.raises(ConfigError) as caught:
        load(options, KEYS)
    assert sum("paste:" in problem for problem in caught.value.problems) > 30


def test_the_start_keeps_the_text_that_it_judged(path: Path, options: Options) -> None:
    found = load(options, KEYS)
    assert found.limits_text == path.read_text()
    assert found.limits_path == path


# --- writing -----------------------------------------------------------------------------------------------


def test_a_text_is_replaced_whole_and_keeps_mode_and_link(path: Path) -> None:
    path.chmod(0o640)
    link = path.with_name("link.toml")
    link.symlink_to(path.name)
    replace_limits_text(link, "x = 1\r\n")
    assert link.is_symlink()
    assert path.read_bytes() == b"x = 1\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(found.name for found in path.parent.iterdir()) == ["link.toml", path.name]


# --- noticing ----------------------------------------------------------------------------------------------


@pytest.fixture
def heard() -> list[LimitsRead]:
    return []


@pytest.fixture
def watch(path: Path, heard: list[LimitsRead]) -> LimitsWatch:
    """A watch on the file as it was read at start."""
    found = LimitsWatch(path, path.read_text(), ("AAPL",), lambda: Ns(7), heard.append)
    for _ in range(3):
        found.look()
    assert heard == [], "what was read at start is not told again"
    return found


def settle(watch: LimitsWatch) -> None:
    """Look as often as it takes, and more."""
    for _ in range(4):
        watch.look()


def in_place(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def by_rename(path: Path, data: bytes) -> None:
    other = path.with_name("new.toml")
    other.write_bytes(data)
    other.rename(path)


def by_link(path: Path, data: bytes) -> None:
    """As a mounted configuration is swapped: the name is a link, and leads to another file from now on."""
    other, link = path.with_name("other.toml"), path.with_name("fresh")
    other.write_bytes(data)
    link.symlink_to(other.name)
    link.rename(path)


def by_removal(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


WAYS = [in_place, by_rename, by_link, by_removal]


@pytest.mark.parametrize("change", WAYS)
def test_a_change_is_noticed_however_it_is_made(
    path: Path, watch: LimitsWatch, heard: list[LimitsRead], change: Callable[[Path, bytes], None]
) -> None:
    data = path.read_bytes() + b"# another\n"
    change(path, data)
    settle(watch)
    [event] = heard
    assert (event.text, event.problem, event.symbols) == (data.decode(), "", ("AAPL",))
    assert not event.at_start


@pytest.mark.parametrize("change", WAYS)
def test_the_same_bytes_again_are_no_change(
    path: Path, watch: LimitsWatch, heard: list[LimitsRead], change: Callable[[Path, bytes], None]
) -> None:
    change(path, path.read_bytes())
    settle(watch)
    assert heard == []


def test_a_write_in_place_of_the_same_length_within_the_same_moment_is_noticed(
    path: Path, watch: LimitsWatch, heard: list[LimitsRead]
) -> None:
    before = path.stat()
    in_place(path, path.read_bytes().replace(b"max_daily_trades = 5", b"max_daily_trades = 3"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    settle(watch)
    assert len(heard) == 1


def test_a_file_that_is_still_being_written_is_not_read(
    path: Path, watch: LimitsWatch, heard: list[LimitsRead]
) -> None:
    whole = path.read_bytes().replace(b"max_daily_trades = 5", b"max_daily_trades = 3")
    in_place(path, b"")
    for end in range(0, len(whole), 400):
        in_place(path, whole[:end])
        watch.look()
    in_place(path, whole)
    assert heard == []
    settle(watch)
    assert [event.text for event in heard] == [whole.decode()]


def test_a_file_that_is_gone_or_unreadable_is_told_once_and_its_return_too(
    path: Path, watch: LimitsWatch, heard: list[LimitsRead]
) -> None:
    text = path.read_text()
    path.unlink()
    settle(watch)
    make_fifo_there = path
    os.mkfifo(make_fifo_there)
    settle(watch)
    path.unlink()
    path.write_text(text)
    settle(watch)
    problems = [event.problem for event in heard]
    assert [problem.rpartition(": ")[2] for problem in problems] == [
        "No such file or directory",
        "not a regular file",
        "",
    ]
    assert heard[-1].text == text


def test_the_start_is_told_with_the_text_that_was_judged(path: Path, heard: list[LimitsRead]) -> None:
    text = path.read_text()
    watch = LimitsWatch(path, text, None, lambda: Ns(7), heard.append)
    path.write_text("# changed between the reading and the first look\n" + text)
    watch.begin()
    settle(watch)
    assert [(event.text == text, event.at_start) for event in heard] == [(True, True), (False, False)]


# --- who may write it --------------------------------------------------------------------------------------


@pytest.fixture
def options(path: Path, root: Path, tmp_path: Path) -> Options:
    """A configuration whose files are as they would be on a machine that other users can look into."""
    (tmp_path / "hands.toml").write_text((root / "config" / "hands.toml").read_text())
    return Options(
        config=tmp_path / "hands.toml",
        limits=path,
        intents=tmp_path / "intents",
        state=tmp_path / "var",
        alpaca_url="http://127.0.0.1:1",
    )


BRAIN = 54_321


@pytest.fixture
def live(options: Options, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Real money, and a Brain that is a user of its own."""
    stranger = permissions.Person("brain", BRAIN, frozenset({BRAIN}))
    monkeypatch.setattr(config, "brains", lambda _root, _agents: [stranger])
    return replace(options, alpaca_url="https://api.alpaca.markets", live="123456789")


def test_real_money_takes_limits_that_the_brain_cannot_write(live: Options) -> None:
    assert load(live, KEYS).live == "123456789"


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_real_money_refuses_limits_that_the_brain_could_write(live: Options, path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(Unsafe, match="writable for brain"):
        load(live, KEYS)


def test_real_money_refuses_limits_in_a_folder_in_which_the_brain_could_put_others(
    live: Options, place: Path
) -> None:
    place.chmod(0o777)
    with pytest.raises(Unsafe, match="brain could replace"):
        load(live, KEYS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_real_money_refuses_limits_that_belong_to_the_brain(live: Options, path: Path) -> None:
    os.chown(path, BRAIN, -1)
    with pytest.raises(Unsafe, match="brain owns"):
        load(live, KEYS)


def test_real_money_refuses_a_brain_without_a_user_of_its_own(
    live: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "brains", permissions.brains)
    with pytest.raises(Unsafe, match="no user of its own"):
        load(live, KEYS)


def test_on_paper_the_same_is_a_warning_and_on_the_simulator_nothing(live: Options, path: Path) -> None:
    path.chmod(0o666)
    paper = load(replace(live, alpaca_url=None, live=None), KEYS)
    assert any("writable for brain" in risk for risk in paper.risks)
    assert load(replace(live, alpaca_url="http://127.0.0.1:1", live=None), KEYS).risks == ()


def test_the_roll_is_read(options: Options, path: Path) -> None:
    at_five = load(options, KEYS).rolls_ns
    path.write_text(path.read_text().replace('"17:00 America', '"09:00 America'))
    at_nine = load(options, KEYS).rolls_ns
    assert {five - nine for five, nine in zip(at_five, at_nine, strict=True)} == {8 * 3600 * NS_PER_S}
