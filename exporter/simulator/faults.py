"""What goes wrong on the simulated platform: by chance (deterministic by seed), or by switches. PURE."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum


class Fault(StrEnum):
    """One way in which a request can fail, as the client sees it."""

    RESET = "reset"  # the connection is reset instead of an answer
    SERVER_ERROR = "server-error"  # HTTP 500
    SLOW = "slow"  # the right answer, after `slow_seconds`
    TRUNCATED = "truncated"  # half of the body, then the connection ends
    NOT_JSON = "not-json"  # an HTML page with HTTP 200, as a proxy gives it
    API_ERROR = "api-error"  # the dialect's own error: HTTP 200 with status error, or 500
    DATABASE_DOWN = "database-down"
    TOO_MANY = "too-many"  # 429 with Retry-After; by its switch only
    UNAUTHORIZED = "unauthorized"  # by its switch only
    FORBIDDEN = "forbidden"  # 403; by its switch only


CHANCE = (
    Fault.RESET,
    Fault.SERVER_ERROR,
    Fault.SLOW,
    Fault.TRUNCATED,
    Fault.NOT_JSON,
    Fault.API_ERROR,
    Fault.DATABASE_DOWN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSettings:
    """`rate` is the share of requests that one of `kinds` hits; switches hit every request."""

    rate: float = 0.0
    kinds: tuple[Fault, ...] = CHANCE
    slow_seconds: float = 1.0  # longer than a healthy answer, shorter than the usual timeout
    page_delay: float = 0.0  # seconds that every page takes in addition
    down: bool = False  # every connection is reset
    database_down: bool = False
    reject_credentials: bool = False
    forbid: bool = False
    retry_after: int | None = None  # seconds told with HTTP 429; None: no limit on requests

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate must be between 0 and 1")
        if not self.kinds or not set(self.kinds) <= set(CHANCE):
            raise ValueError(f"kinds must be some of {', '.join(CHANCE)}")
        if min(self.slow_seconds, self.page_delay, self.retry_after or 0) < 0:
            raise ValueError("seconds must not be negative")


class Faults:
    """Decides for each request what goes wrong with it."""

    def __init__(self, *, seed: int = 0, settings: FaultSettings | None = None) -> None:
        self.settings = settings or FaultSettings()
        self._rng = random.Random(f"faults-{seed}")

    def change(self, changes: Mapping[str, object]) -> None:
        """Take over some settings by name; ValueError for an unknown name or a wrong value."""
        known = {item.name for item in fields(FaultSettings)}
        if unknown := set(changes) - known:
            raise ValueError(f"unknown fault settings: {', '.join(sorted(unknown))}")
        values = dict(changes)
        if isinstance(kinds := values.get("kinds"), list | tuple):
            values["kinds"] = tuple(Fault(kind) for kind in kinds)
        try:
            self.settings = replace(self.settings, **values)  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError("a fault setting has the wrong type") from error

    def pick(self) -> Fault | None:
        """Tell what goes wrong with the next request, if anything."""
        settings = self.settings
        switches = (
            (settings.down, Fault.RESET),
            (settings.retry_after is not None, Fault.TOO_MANY),
            (settings.reject_credentials, Fault.UNAUTHORIZED),
            (settings.forbid, Fault.FORBIDDEN),
            (settings.database_down, Fault.DATABASE_DOWN),
        )
        for switched, fault in switches:
            if switched:
                return fault
        if settings.rate and self._rng.random() < settings.rate:
            return self._rng.choice(settings.kinds)
        return None
