"""The doctor: everything that is wrong is said at once, with what cures it, and never a credential."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hands.intake.permissions import person
from hands.journal.store import JournalStore
from hands.runtime import doctor
from hands.runtime.config import Options
from hands.runtime.doctor import examine
from hands.runtime.machine import Level, Line
from hands.runtime.set_up import agent_folder, folders, set_up
from hands.sim.testing import in_process_sim
from hands.venues.alpaca.interview import Interview
from tests.core.world import account
from tests.second_user import OTHER, STRANGER, needs_root, reachable_folder

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL
SECRET = "sekrit-0123456789"
KEYS = {"APCA_API_KEY_ID": "PKTEST0123456789", "APCA_API_SECRET_KEY": SECRET}
LIVE_URL = "https://api.alpaca.markets"


@pytest.fixture
def top() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def options(root: Path, top: Path) -> Options:
    for name in ("hands.toml", "risk_limits.toml"):
        (top / name).write_text((root / "config" / name).read_text())
    made = Options(
        config=top / "hands.toml",
        limits=top / "risk_limits.toml",
        intents=top / "intents",
        state=top / "var",
    )
    list(set_up(folders(top / "intents", top / "var", None), person(os.geteuid())))
    return made


def look(options: Options, environ: dict[str, str] = KEYS, *, connect: bool = False) -> dict[str, list[Line]]:
    """Return what is said, by what it is of; nowhere may the secret stand."""
    found: dict[str, list[Line]] = {}
    for line in examine(options, environ, connect=connect):
        assert SECRET not in f"{line}"
        assert line.level is not FAIL or line.said
        found.setdefault(line.what, []).append(line)
    return found


def level(lines: list[Line]) -> Level:
    return max((line.level for line in lines), key=[OK, WARN, FAIL].index)


def test_everything_that_a_start_depends_on_is_looked_at(options: Options) -> None:
    found = look(options)
    assert list(found) == [
        "python", "packages", "sqlite", "compiled code", "open files", "configuration", "disk", "file events",
        "state directory", "watchdog", "drop folder", "limits, state", "halt", "credentials",
    ]  # fmt: skip
    assert level(found["drop folder"]) is OK


def test_every_problem_of_the_files_is_a_line(options: Options) -> None:
    options.limits.write_text(options.limits.read_text().replace("max_spread = 0.005", "max_spread = 5"))
    options.config.write_text(options.config.read_text().replace("account_s = 5.0", "account_s = 0"))
    assert [line.level for line in look(options)["configuration"]] == [FAIL, FAIL]


def test_missing_credentials_hide_nothing_else(options: Options) -> None:
    found = look(options, {})
    assert found["credentials"][0].level is FAIL
    assert "halt" in found
    assert found["configuration"][0].level is OK


@pytest.mark.parametrize(
    ("key", "url", "live", "wanted"),
    [
        ("PK1", None, None, OK),
        ("AK1", None, None, FAIL),
        ("XY1", None, None, OK),
        ("PK1", LIVE_URL, "1", FAIL),
        ("AK1", LIVE_URL, "1", OK),
        ("PK1", "http://127.0.0.1:1", None, OK),
    ],
)
def test_keys_must_be_of_the_kind_that_the_host_takes(
    options: Options, key: str, url: str | None, live: str | None, wanted: Level
) -> None:
    asked = replace(options, alpaca_url=url, live=live)
    assert level(look(asked, KEYS | {"APCA_API_KEY_ID": key})["credentials"]) is wanted


def test_a_live_host_has_to_be_meant(options: Options) -> None:
    found = look(replace(options, alpaca_url=LIVE_URL))
    assert "--live" in found["configuration"][0].said
    assert found["configuration"][0].level is FAIL


@pytest.mark.parametrize(
    ("url", "live", "wanted"),
    [("http://127.0.0.1:1", None, OK), (None, None, WARN), (LIVE_URL, "1", FAIL)],
)
def test_a_brain_without_its_own_user_is_well_on_the_simulator_and_refused_with_real_money(
    options: Options, url: str | None, live: str | None, wanted: Level
) -> None:
    assert level(look(replace(options, alpaca_url=url, live=live))["limits, state"]) is wanted


@pytest.mark.parametrize(("url", "live", "wanted"), [(None, None, WARN), (LIVE_URL, "1", FAIL)])
def test_a_loose_drop_folder_is_named(
    options: Options, top: Path, url: str | None, live: str | None, wanted: Level
) -> None:
    (top / "intents" / "receipts").chmod(0o777)
    assert level(look(replace(options, alpaca_url=url, live=live))["drop folder"]) is wanted


def test_a_halt_file_is_named(options: Options, top: Path) -> None:
    (top / "intents" / "HALT").symlink_to("/nowhere")
    assert look(options)["halt"][0].level is WARN


@needs_root
def test_limits_within_a_brains_reach_are_named(
    options: Options, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(set_up(folders(top / "intents", top / "var", STRANGER), person(os.geteuid())))
    options.limits.write_text(options.limits.read_text() + '\n[agents.momentum]\nuser = "brain"\n')
    monkeypatch.setattr("pwd.getpwnam", lambda _: type("User", (), {"pw_uid": STRANGER})())
    asked = replace(options, alpaca_url=LIVE_URL, live="1")
    assert level(look(asked)["limits, state"]) is OK
    for path in (options.limits, options.config):
        path.chmod(0o646)
        (line,) = look(asked)["limits, state"]
        assert (line.level, str(path) in line.said) == (FAIL, True)
        path.chmod(0o644)
    top.chmod(0o757)
    assert len(look(asked)["limits, state"]) >= 2


@needs_root
def test_an_agent_that_cannot_drop_and_one_that_anybody_may_be_are_named(
    options: Options, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {"brain": STRANGER, "other": OTHER}
    monkeypatch.setattr("pwd.getpwnam", lambda name: type("User", (), {"pw_uid": users[name]})())
    monkeypatch.setattr(
        doctor, "person", lambda uid: person(uid)._replace(name=str(uid), gids=frozenset({uid}))
    )
    text = '\n[agents.a]\nuser = "brain"\n[agents.b]\nuser = "other"\n[agents.c]\nmax_concurrent = 1\n'
    options.limits.write_text(options.limits.read_text() + text)
    for name in ("a", "c"):
        list(set_up([agent_folder(top / "intents", name, STRANGER)], person(os.geteuid())))
    found = look(options)
    assert [level(found[f"agent {name}"]) for name in "abc"] == [OK, WARN, WARN]
    assert "cannot drop" in found["agent b"][0].said
    assert "no user" in found["agent c"][0].said
    list(set_up([agent_folder(top / "intents", "b", OTHER)], person(os.geteuid())))
    assert level(look(options)["agent b"]) is OK
    (top / "intents" / "agents" / "b").chmod(0o3777)
    assert "may drop there too" in look(options)["agent b"][0].said


# --- the venue ---------------------------------------------------------------------------------------------


def test_a_venue_that_does_not_answer_is_a_failure(options: Options) -> None:
    found = look(replace(options, alpaca_url="http://127.0.0.1:1"), connect=True)
    assert found["venue"][0].level is FAIL
    assert "account" not in found


def test_a_venue_that_sends_the_credentials_back_does_not_make_the_doctor_show_them(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(*_args: object) -> Interview:
        raise OSError(f"HTTP 403 {KEYS}")

    monkeypatch.setattr(doctor, "interview", echo)
    [line] = look(options, connect=True)["venue"]
    assert line.level is FAIL
    assert KEYS["APCA_API_KEY_ID"] not in line.said
    assert "HTTP 403" in line.said


def test_the_account_and_the_clock_are_asked_for(options: Options, top: Path) -> None:
    with in_process_sim() as exchange:
        asked = replace(options, alpaca_url=exchange.url)
        found = look(asked, {}, connect=True)
        assert [level(found[name]) for name in ("venue", "account", "clock")] == [OK, OK, OK]
        wrong = look(asked, {"APCA_API_KEY_ID": "x", "APCA_API_SECRET_KEY": SECRET}, connect=True)
        assert wrong["venue"][0].level is FAIL
        journal = JournalStore(top / "var" / "journal.db")
        journal.bind(venue="sim", host="127.0.0.1", account="ANOTHER")
        journal.close()
        assert "belongs to account ANOTHER" in look(asked, {}, connect=True)["account"][0].said


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, OK),
        ({"trading_blocked": True}, FAIL),
        ({"suspended_by_user": True}, FAIL),
        ({"status": "ACCOUNT_CLOSED"}, FAIL),
        ({"crypto_status": "INACTIVE"}, WARN),
    ],
)
def test_what_the_venue_says_of_the_account(
    options: Options, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], wanted: Level
) -> None:
    said = Interview(account(**changes), 0, 1_000_000)
    monkeypatch.setattr(doctor, "interview", lambda *_: said)
    assert level(look(options, connect=True)["account"]) is wanted


@pytest.mark.parametrize(
    ("ahead_s", "wanted"), [(0.1, OK), (-0.1, OK), (0.9, WARN), (2.5, FAIL), (-2.5, FAIL)]
)
def test_how_far_the_clock_is_off(
    options: Options, monkeypatch: pytest.MonkeyPatch, ahead_s: float, wanted: Level
) -> None:
    said = Interview(account(), int(ahead_s * 1e9), 20_000_000)
    monkeypatch.setattr(doctor, "interview", lambda *_: said)
    assert level(look(options, connect=True)["clock"]) is wanted


def test_a_live_account_must_be_the_one_that_is_meant(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "interview", lambda *_: Interview(account(account_number="7"), 0, 0))
    keys = KEYS | {"APCA_API_KEY_ID": "AK1"}
    for number, wanted in (("7", OK), ("8", FAIL)):
        asked = replace(options, alpaca_url=LIVE_URL, live=number)
        assert level(look(asked, keys, connect=True)["account"]) is wanted
