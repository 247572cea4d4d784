"""`hands check` and `hands schema`: verdicts without sending."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"

EXAMPLES = Path("intents/examples")
BRACKET = EXAMPLES / "01-equity-bracket-long.json"
MARKET = ("--quote", "149.98,150.00", "--equity", "100000")


def intent(tmp_path: Path, **changes: object) -> Path:
    document = json.loads((Path(__file__).resolve().parents[2] / BRACKET).read_text()) | changes
    path = tmp_path / "intent.json"
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
    return path


def test_the_contracts_example_is_sized_as_it_says(hands) -> None:
    result = hands("check", "--stamp", *MARKET, BRACKET, "--json")
    receipt = result.document
    assert (result.exit_code, receipt["verdict"], receipt["code"]) == (0, "ACCEPTED", "OK")
    assert receipt["order"]["qty"] == "66"
    assert receipt["order"]["limit_price"] == "150.15"
    assert receipt["order"]["risk_usd"] == "141.90"
    assert receipt["sizing"]["binding"] == "max_position_size"
    assert receipt["sizing"]["caps"]["max_risk_per_trade"] == "930"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "OK"),
        ({"asset": "APPL"}, "SYMBOL_NOT_ALLOWED"),
        ({"direction": "SHORT", "take_profit": 145.0, "stop_loss": 152.0}, "SHORT_NOT_ALLOWED"),
        ({"confidence": 0.1}, "CONFIDENCE_TOO_LOW"),
        ({"stop_loss": 151.0}, "BRACKET_GEOMETRY"),
        ({"stop_loss": 100.0, "take_profit": 260.0}, "STOP_TOO_FAR"),
        ({"stop_loss": 149.999}, "STOP_TOO_CLOSE"),
        ({"take_profit": 150.5}, "REWARD_RISK_TOO_LOW"),
        ({"ttl_seconds": 16}, "TTL_TOO_LONG"),
        ({"entry": "touch", "arm_seconds": 99_999}, "TTL_TOO_LONG"),
        ({"stop_loss": None}, "SCHEMA"),
        ({"confidence": "0.7"}, "SCHEMA"),
        ({"surprise": 1}, "SCHEMA"),
    ],
)
def test_offline_judges_what_needs_no_market(
    hands, tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    result = hands("check", "--stamp", intent(tmp_path, **changes), "--json")
    assert result.document["code"] == code
    assert result.exit_code == (0 if code == "OK" else 1)


@pytest.mark.parametrize(
    ("changes", "market", "code"),
    [
        ({}, ("150.30", "150.32"), "SLIPPAGE"),
        ({}, ("148.00", "151.00"), "SPREAD_TOO_WIDE"),
        ({}, ("150.00", "150.00"), "NO_MARKET_DATA"),
        ({}, ("160.00", "160.01"), "PRICE_COLLAR"),
        ({"stop_loss": 149.99, "take_profit": 155.0}, ("149.98", "150.00"), "BRACKET_GEOMETRY"),
        ({"entry": "touch", "trigger_price": 149.5}, ("149.98", "150.00"), "OK"),
        ({"qty": 0.5}, ("149.98", "150.00"), "SIZE_TOO_SMALL"),
    ],
)
def test_a_quote_and_an_equity_judge_all_of_it(
    hands, tmp_path: Path, changes: dict[str, object], market: tuple[str, str], code: str
) -> None:
    path = intent(tmp_path, **changes)
    result = hands("check", "--stamp", "--quote", ",".join(market), "--equity", "100000", path, "--json")
    assert result.document["code"] == code


def test_an_old_file_is_expired_unless_it_is_stamped(hands) -> None:
    document = hands("check", EXAMPLES / "05-expired.json", "--json").document
    assert document["code"] in {"EXPIRED", "FUTURE_TIMESTAMP"}


def test_what_cannot_be_read_is_refused(hands) -> None:
    result = hands("check", EXAMPLES / "06-malformed.json", "--json")
    assert (result.exit_code, result.document["code"]) == (1, "MALFORMED_JSON")


def test_a_receipt_for_people_says_why_and_what_next(hands, tmp_path: Path) -> None:
    text = hands("check", "--stamp", intent(tmp_path, confidence=0.1)).stdout
    assert "REJECTED CONFIDENCE_TOO_LOW" in text
    assert "found 0.1, allowed 0.6" in text


@pytest.mark.parametrize(
    "arguments",
    [("--quote", "1,2"), ("--equity", "5"), ("--quote", "1", "--equity", "5"), ("--quote", "a,b", "--equity", "5"),
     ("--live", *MARKET), ("--limits", "no-such.toml")],
)  # fmt: skip
def test_flags_that_make_no_sense_exit_2(hands, arguments: tuple[str, ...]) -> None:
    assert hands("check", BRACKET, *arguments).exit_code == 2


def test_live_is_judged_by_the_daemon(hands, daemon) -> None:
    receipt = hands("check", "--stamp", *MARKET, BRACKET, "--json").document
    daemon.answers["check"] = {"ok": True, "receipt": receipt | {"code": "HALTED", "verdict": "REJECTED"}}
    result = hands("check", "--live", BRACKET, "--agent", "momentum", "--state", daemon.state_dir, "--json")
    assert (result.exit_code, result.document["code"]) == (1, "HALTED")
    [asked] = daemon.asked
    assert asked["agent"] == "momentum"
    assert json.loads(asked["document"])["asset"] == "AAPL"


# --- schemas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["intent", "cancel", "close", "amend", "receipt"])
def test_a_schema_is_json(hands, kind: str) -> None:
    assert hands("schema", kind).document["type"] == "object"
    assert hands("schema", kind, "--json").stdout.count("\n") == 1


@pytest.mark.parametrize(
    "name", ["01-equity-bracket-long", "02-crypto-long", "06-malformed", "04-short-not-allowed"]
)
def test_receipts_are_what_their_schema_says(hands, receipt_faults, name: str) -> None:
    receipt = hands("check", "--stamp", *MARKET, EXAMPLES / f"{name}.json", "--json").document
    assert receipt_faults(receipt) == []


@pytest.mark.parametrize("kind", ["cancel", "close", "amend"])
def test_a_document_that_changes_a_trade_can_be_checked_too(
    hands, receipt_faults, tmp_path, kind: str
) -> None:
    document = {"kind": kind, "intent_id": ID, "target_id": ID.replace("6", "7")}
    path = tmp_path / "change.json"
    path.write_text(json.dumps(document | ({"stop_loss": 149} if kind == "amend" else {})))
    result = hands("check", "--stamp", path, "--json")
    assert (result.exit_code, result.document["kind"], result.document["verdict"]) == (0, kind, "ACCEPTED")
    assert result.document["intent_id"] != ID, "--stamp gives a fresh id"
    assert receipt_faults(result.document) == []
    assert "--live" in hands("check", path).stdout


def test_the_receipts_check_of_the_schema_bites(hands, receipt_faults) -> None:
    receipt = hands("check", "--stamp", *MARKET, BRACKET, "--json").document
    assert receipt_faults(receipt | {"verdict": "MAYBE"})
    assert receipt_faults(receipt | {"order": receipt["order"] | {"qty": 66}})
    del receipt["checks"]
    assert receipt_faults(receipt)
