"""What may be set about the account: by its owner (`Configurations`) and by the venue (`AccountFlags`).

Owns the fields, their values and what a change must look like; admission asks them. May not decide anything. The
idea: both are plain immutable documents, changed as a whole, so that a refused change changes nothing. The owner
changes the first through PATCH /v2/account/configurations (`Exchange.configure`), a test the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from hands.sim.venue import errors

ACTIVE: Final = "ACTIVE"
ACCOUNT_STATUSES: Final = (
    ACTIVE,
    "INACTIVE",
    "PAPER_ONLY",
    "ONBOARDING",
    "SUBMISSION_FAILED",
    "SUBMITTED",
    "ACCOUNT_UPDATED",
    "APPROVAL_PENDING",
    "REJECTED",
    "ACCOUNT_CLOSED",
    "APPROVED",
    "ACCOUNT_CLOSED_PENDING",
    "ACTION_REQUIRED",
    "LIMITED",
)
_YES_NO: Final = (True, False)
_CHECKS: Final = ("both", "entry", "exit")


class FlagError(ValueError):
    """A flag that does not exist, or a value it cannot have; the message says which and what is allowed."""


@dataclass(frozen=True, slots=True)
class Configurations:
    """The fields of /v2/account/configurations.

    Without effect here, since nothing they govern is built: `dtbp_check` and `pdt_check` (day trading, sunset in
    2026), `trade_confirm_email`, `disable_overnight_trading` (there is no session between 20:00 and 4:00) and
    `max_options_trading_level`.
    """

    dtbp_check: str = "entry"
    trade_confirm_email: str = "all"
    suspend_trade: bool = False
    no_shorting: bool = False
    fractional_trading: bool = True
    disable_overnight_trading: bool = False
    ptp_no_exception_entry: bool = False
    max_margin_multiplier: str = "4"
    max_options_trading_level: int = 0
    pdt_check: str = "entry"

    def changed(self, changes: Mapping[str, Any]) -> Configurations:
        """Return these with `changes` applied; null leaves as it is and unknown fields are passed over.

        Raises:
            VenueError: 422, a field cannot have this value.
        """
        wanted = {name: changes[name] for name in _CONFIGURABLE if changes.get(name) is not None}
        for name, value in wanted.items():
            if not _is_one_of(value, _CONFIGURABLE[name]):
                # The wording was seen for pdt_check.
                raise errors.parameter(f"{name} value is invalid")
        return replace(self, **wanted)


_CONFIGURABLE: Final[dict[str, tuple[Any, ...]]] = {
    "dtbp_check": _CHECKS,
    "trade_confirm_email": ("all", "none"),
    "suspend_trade": _YES_NO,
    "no_shorting": _YES_NO,
    "fractional_trading": _YES_NO,
    "disable_overnight_trading": _YES_NO,
    "ptp_no_exception_entry": _YES_NO,
    "max_margin_multiplier": ("1", "2", "4"),
    "max_options_trading_level": (0, 1, 2, 3),
    "pdt_check": _CHECKS,
}


@dataclass(frozen=True, slots=True)
class AccountFlags:
    """What the venue has decided about the account; the fields of /v2/account that are not money.

    `liquidation_only` is no field there: the account may then only reduce what it holds.
    """

    status: str = ACTIVE
    crypto_status: str = ACTIVE
    trading_blocked: bool = False
    account_blocked: bool = False
    transfers_blocked: bool = False
    shorting_enabled: bool = True
    liquidation_only: bool = False

    def may_trade(self, *, crypto: bool) -> bool:
        """Return whether the account is authorised to send orders in this class of asset."""
        status = self.crypto_status if crypto else self.status
        return status == ACTIVE and not (self.trading_blocked or self.account_blocked)

    def changed(self, changes: Mapping[str, Any]) -> AccountFlags:
        """Return these with `changes` applied. Raises `FlagError`: an unknown flag, or a value it cannot have."""
        known = [flag.name for flag in fields(self)]
        for name, value in changes.items():
            if name not in known:
                raise FlagError(f"no flag {name!r}; there are {', '.join(known)}")
            allowed = ACCOUNT_STATUSES if name in {"status", "crypto_status"} else _YES_NO
            if not _is_one_of(value, allowed):
                raise FlagError(f"{name} is {value!r}; allowed: {', '.join(map(str, allowed))}")
        return replace(self, **changes)


def _is_one_of(value: Any, allowed: tuple[Any, ...]) -> bool:
    """Return whether `value` is allowed, a boolean not passing for a number nor a number for a boolean."""
    return any(type(value) is type(choice) and value == choice for choice in allowed)
