"""The options: what a simulator may be asked for, everything wrong said at once, and the command line over it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from hands.cli.main import app
from hands.sim.market.load import LoadTape
from hands.sim.server.clock import ManualClock
from hands.sim.server.config import ConfigError, SimConfig
from hands.sim.testing import Sim, SimError, flags, in_process_sim, running_sim
from hands.sim.venue.quirks import Latency, Quirks, catalogue

WRONG = {
    "listen": "0.0.0.0:0",
    "session": "never",
    "fills": "lucky",
    "plan": "gold",
    "clock": "sun",
    "start": "noon",
    "cash": "-1",
    "multiplier": 3,
    "symbols": ["aapl"],
    "regime": "wild",
    "rate_limit": -1,
    "key": "",
    "quirks": {"recancel": "maybe", "mood": "bad"},
    "latency": {"ack": -1, "thought": 5},
    "colour": "red",
}


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        SimConfig.of(WRONG)
    said = "\n".join(refused.value.problems)
    for word in (*WRONG, "mood", "thought", "wild"):
        assert word in said
    assert len(refused.value.problems) == len(WRONG) + 2  # two quirks, two latencies


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"speed": 0}, "speed 0; it must be above 0"),
        ({"speed": float("nan")}, "speed nan"),
        ({"speed": "fast"}, "'fast' is not a number"),
        ({"rate": 0}, "rate 0"),
        ({"seed": 1.5}, "seed 1.5 is not a whole number"),
        ({"load_frame": 0}, "load_frame 0; it must be at least 1"),
        ({"correlation": 1.0}, "correlation 1.0"),
        ({"symbols": []}, "at least one symbol"),
        ({"tape": []}, "no tape given"),
        ({"tape": ["synthetic", "manual"]}, "stand alone"),
        ({"tape": ["load", "manual"]}, "stand alone"),
        ({"tape": ["nowhere.csv"]}, "nowhere.csv"),
        ({"tape": "load", "clock": "manual"}, "cannot have a manual clock"),
        ({"cash": "much"}, "'much' is not a decimal number"),
        ({"cash": "1e99"}, "exponent 99"),
        ({"start": "0001-01-01"}, "before 1970"),
        ({"start": "9999-12-31T23:59:59Z"}, "after 2199-12-31"),
        ({"start": "tea time"}, "start 'tea time' is not a time like 2026-01-05T15:00:00Z"),
        ({"start": 5}, "start 5 is no text"),
        ({"listen": 5}, "listen 5 is no text"),
        ({"listen": "127.0.0.1:65536"}, "a port is from 0 to 65535"),
        ({"speed": None}, "speed None is not a number"),
        ({"speed": 1e300}, "speed 1e+300; it must be at most 1,000,000"),
        ({"rate": 1e30}, "rate 1e+30; it must be at most 1,000,000"),
        ({"correlation": float("nan")}, "correlation nan is not a number"),
        ({"seed": None}, "seed None is not a whole number"),
        ({"seed": 10**400}, "it must be at most"),
        ({"multiplier": True}, "multiplier True; allowed"),
        ({"volume_curve": "yes"}, "volume_curve 'yes' is neither true nor false"),
        ({"symbols": 5}, "symbols 5 is neither a text nor a list of texts"),
        ({"key": 5}, "key 5 is no text"),
        ({"quirks": "recancel"}, "an object of names and values"),
        ({"latency": {"ack": "5"}}, "latency ack is '5'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, says) -> None:
    with pytest.raises(ConfigError) as refused:
        SimConfig.of(options)
    assert says in "\n".join(refused.value.problems)


def test_plain_values_become_what_they_mean() -> None:
    config = SimConfig.of(
        {
            "tape": "manual",
            "symbols": ["AAPL"],
            "cash": 5000,
            "clock": "manual",
            "start": "2026-03-02T09:30:00-05:00",
            "quirks": {"recancel": "refused"},
            "latency": {"ack": 1.5},
        }
    )
    assert (config.is_manual, config.cash, config.quirks.recancel) == (True, "5000", "refused")
    assert config.latency == Latency.of_ms(ack=1.5)
    clock = config.open_clock()
    assert isinstance(clock, ManualClock)
    assert clock() == 1_772_461_800 * 10**9


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.168.1.7:8080", "example.org:80", "[::]:0"])
def test_it_serves_this_machine_only(listen: str) -> None:
    with pytest.raises(ConfigError, match="this machine only"):
        SimConfig(listen=listen).address()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.9.1:80", "localhost:0", "[::1]:8080"])
def test_every_loopback_address_will_do(listen: str) -> None:
    assert SimConfig(listen=listen).address()[1] >= 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_it_is_found_where_it_listens(host: str) -> None:
    if host == "[::1]" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with in_process_sim(listen=f"{host}:0") as sim:
        assert sim.url.startswith(f"http://{host}:")
        assert sim.truth()["orders"] == []


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_the_tape_load_is_prepared_as_asked() -> None:
    config = SimConfig.of({"tape": "load", "symbols": ["AAPL"], "load_rate": 500, "load_frame": 5})
    load = config.open_load(lambda: 0)
    assert isinstance(load, LoadTape)
    assert (load.symbols, load.rate_per_s, load.frame) == (("AAPL",), 500, 5)
    assert SimConfig.of({"tape": "manual"}).open_load(lambda: 0) is None


# --- the command line ----------------------------------------------------------------------------------------------


def test_the_help_teaches_in_groups() -> None:
    text = CliRunner().invoke(app, ["sim", "--help"], terminal_width=100).output
    places = [
        text.index(f"\n{heading}:\n")
        for heading in ("The market", "The account and its fills", "The venue's habits", "Time", "The server")
    ]
    assert places == sorted(places)
    for name in SimConfig.__dataclass_fields__:
        if name not in {"key", "secret"}:  # these come by the environment
            assert f"--{name.replace('_', '-')}" in text


def test_the_quirks_are_listed_for_people_and_for_programs() -> None:
    lines = CliRunner().invoke(app, ["sim", "--list-quirks"]).output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(catalogue())
    listed = json.loads(CliRunner().invoke(app, ["sim", "--list-quirks", "--json"]).output)
    assert [(q["name"], q["default"]) for q in listed] == [
        (e.name, e.allowed[0]) for e in catalogue().values()
    ]


def test_every_option_has_its_flag() -> None:
    options = {
        "tape": ["a.csv", "b.csv"],
        "symbols": ("AAPL", "BTC/USD"),
        "quirks": {"recancel": "refused", "heartbeat": "byte"},
        "latency": {"ack": 5, "fill": 2.5},
        "volume_curve": True,
        "rate_limit": 200,
    }
    assert flags(options) == [
        *("--tape", "a.csv", "--tape", "b.csv"),
        *("--symbols", "AAPL,BTC/USD"),
        *("--quirks", "recancel=refused,heartbeat=byte"),
        *("--latency", "ack=5,fill=2.5"),
        "--volume-curve",
        *("--rate-limit", "200"),
    ]
    assert flags({"volume_curve": False}) == []


@pytest.mark.parametrize(
    ("more", "shown"), [([], "hands: fills 'lucky'"), (["--json"], '"message": "fills \'lucky\'')]
)
def test_a_command_line_full_of_mistakes_is_told_all_of_them(more, shown) -> None:
    arguments = [
        *("--fills", "lucky", "--listen", "here", "--cash", "much", "--tape", "none.csv", "--clock", "sun"),
        *("--quirks", "recancel", "--quirks", "mood=bad,recancel=maybe", "--latency", "ack=soon"),
    ]
    result = CliRunner().invoke(app, ["sim", *arguments, *more])
    assert (result.exit_code, result.stdout) == (2, "")
    assert shown in result.stderr
    assert len(result.stderr.splitlines()) == 9


@pytest.mark.e2e
def test_a_process_takes_every_option_and_its_keys_from_the_environment() -> None:
    options = {
        "clock": "manual",
        "start": "2026-03-02T09:30:00-05:00",
        "session": "calendar",
        "cash": "5000",
        "multiplier": 4,
        "plan": "basic",
        "rate_limit": 100,
        "quirks": {"order_class_text": "simple"},
        "latency": {"ack": 5},
        "symbols": "AAPL,BTC/USD",
    }
    with running_sim(**options, key="mine", secret="hidden") as sim:
        status, raw = sim.call("GET", "/v2/account", None, 10)
        assert (status, json.loads(raw)["cash"], json.loads(raw)["multiplier"]) == (200, "5000", "4")
        truth = sim.truth()
        assert (truth["now_ns"], truth["latency"]["ack_ns"]) == (1_772_461_800 * 10**9, 5_000_000)
        assert truth["quirks"]["order_class_text"] == "simple"
        sim.secret = "wrong"
        assert sim.call("GET", "/v2/account", None, 10)[0] == 401


# --- from a test -----------------------------------------------------------------------------------------------------


def test_a_simulator_in_this_process_knows_every_control() -> None:
    with in_process_sim(clock="manual", quirks=Quirks(), symbols="AAPL") as sim:
        sim.quote("AAPL", 149.98, "150.00")
        assert sim.trade("AAPL", 150) == 1
        sim.fault("POST /v2/orders", "status", status=504, times=2)
        order = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
        assert sim.call("POST", "/v2/orders", order, 10)[0] == 504
        assert sim.faults()[0]["times"] == 1
        sim.clear_faults()
        assert sim.call("POST", "/v2/orders", order, 10)[0] == 200
        sim.account(trading_blocked=True)
        sim.asset("AAPL", shortable=False)
        sim.split("AAPL", 2, 1)
        sim.rename("AAPL", "PEAR")
        assert [p["qty"] for p in sim.truth()["positions"]] == ["2"]
        assert sim.advance(1000) == sim.now_ns() == sim.advance_to("2026-01-05T15:00:01Z")
        with pytest.raises(SimError, match="forward only"):
            sim.advance(-1)
        sim.reset(cash=5)
        assert sim.truth()["account"]["cash"] == "5"
        assert (sim.trade_stream_url, sim.market_stream_url()) == (
            f"ws{sim.url[4:]}/stream",
            f"ws{sim.url[4:]}/v2/iex",
        )


@pytest.mark.parametrize("start", [in_process_sim, pytest.param(running_sim, marks=pytest.mark.e2e)])
def test_a_simulator_that_cannot_start_says_why(start) -> None:
    with (
        pytest.raises(SimError, match=r"(?s)fills 'lucky'.*cash '-1'|cash '-1'.*fills 'lucky'"),
        start(fills="lucky", cash="-1"),
    ):
        pass


@pytest.mark.parametrize("start", [in_process_sim, pytest.param(running_sim, marks=pytest.mark.e2e)])
def test_an_address_that_is_taken_is_told(start) -> None:
    with in_process_sim() as first:
        address = first.url.removeprefix("http://")
        with pytest.raises(SimError, match="address"), start(listen=address):
            pass


def test_a_refusal_that_is_no_document_is_told_as_it_came() -> None:
    class Broken(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.end_headers()
            self.wfile.write(b"Internal Server Error")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            with pytest.raises(SimError, match="500 Internal Server Error"):
                Sim(f"http://127.0.0.1:{server.server_port}").truth()
        finally:
            server.shutdown()
            serving.join(10)


@pytest.mark.e2e
def test_what_the_process_writes_to_stderr_is_not_lost(monkeypatch) -> None:
    with running_sim() as sim:
        assert sim.said() == ""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with running_sim() as sim:
        said = sim.said()
        assert said.count("hands.sim.server.floor\n") == 1
        assert sim.said().startswith(said)  # reading it takes nothing away and moves nothing


def test_a_simulator_ends_when_the_block_does() -> None:
    with in_process_sim() as sim:
        pass
    with pytest.raises(OSError):
        sim.truth()


def test_the_environment_of_this_process_stays_as_it_is() -> None:
    before = dict(os.environ)
    with in_process_sim(key="mine", secret="hidden") as sim:
        assert sim.call("GET", "/v2/account", None, 10)[0] == 200
    assert dict(os.environ) == before


def test_a_tape_may_be_a_path(tmp_path) -> None:
    tape = tmp_path / "quotes.csv"
    tape.write_text("timestamp,bid_price,bid_size,ask_price,ask_size\n")
    assert SimConfig.of({"tape": tape}).tape == (str(tape),)


@pytest.mark.parametrize("listen", ["[::1]:0", "::1:0"])
def test_an_address_of_version_six_makes_a_url_that_works(listen) -> None:
    with in_process_sim(listen=listen) as sim:
        assert sim.url.startswith("http://[::1]:")
        assert sim.truth()["orders"] == []


UNREADABLE = (
    "symbol,timestamp,price,size\nAAPL,2026-01-05T15:00:00Z,150,100\nAAPL,2026-01-05T15:00:01Z,no,100\n"
)


@pytest.fixture
def bad_tape(tmp_path):
    tape = tmp_path / "bad.csv"
    tape.write_text(UNREADABLE)
    return tape


@pytest.mark.e2e
def test_a_tape_that_turns_out_to_be_unreadable_ends_the_command_with_the_line(bad_tape) -> None:
    command = [sys.executable, "-m", "hands", "sim", "--tape", str(bad_tape), "--speed", "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hands: tape: {bad_tape}:3: column price: 'no' is not a decimal number")
    assert "Traceback" not in done.stderr


def use_until_it_is_gone(start, tape) -> None:
    with start(tape=tape, speed=1_000_000) as sim:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            sim.truth()


def test_a_simulator_that_failed_is_told_to_whoever_complains_of_what_that_led_to(bad_tape) -> None:
    with pytest.raises(OSError) as complaint:
        use_until_it_is_gone(in_process_sim, bad_tape)
    assert "column price: 'no'" in complaint.value.__notes__[0]


@pytest.mark.e2e
def test_a_process_that_ended_early_is_told_to_whoever_complains_of_what_that_led_to(bad_tape) -> None:
    with pytest.raises(OSError) as complaint:
        use_until_it_is_gone(running_sim, bad_tape)
    assert "column price: 'no'" in complaint.value.__notes__[0]
    assert complaint.value.__notes__[0].endswith("hands sim has ended: exit code 2\n")
