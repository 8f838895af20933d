"""What single fields of the job API mean: statuses, times, host lists, labels, ids. PURE.

Functions raise ValueError for a text that has no meaning, and give None where the platform gave nothing.
"""

from collections.abc import Mapping
from datetime import datetime, tzinfo

import msgspec

from exporter.model import UNKNOWN, ExecuteStatus, HostStatus, ResultStatus

MAX_ID = 64  # characters; the API's ids are UUID-shaped, its columns hold 64
MAX_LABEL = 128  # characters; a label value repeats on every line of the exposition
MAX_NUMBER = 2**53  # above this a float, and so a sample, is no longer exact

RESULT_STATUSES: Mapping[str, ResultStatus] = {
    "success": ResultStatus.SUCCESS,
    "fail": ResultStatus.FAIL,
    "failed": ResultStatus.FAIL,
    "error": ResultStatus.FAIL,
    "timeout": ResultStatus.TIMEOUT,
    "cancel": ResultStatus.CANCELLED,
    "canceled": ResultStatus.CANCELLED,
    "cancelled": ResultStatus.CANCELLED,
}
HOST_STATUSES = {spelling: HostStatus(status.value) for spelling, status in RESULT_STATUSES.items()}
EXECUTE_STATUSES = {status.value: status for status in ExecuteStatus}

_TEXTS = msgspec.json.Decoder(list[str] | None)


def record_id(text: str | None) -> str | None:
    """Return the id if it can be one: 1 to 64 characters, no NUL, which PostgreSQL cannot store."""
    return text if text and len(text) <= MAX_ID and "\0" not in text else None


def label(text: str | None) -> str:
    """Return a label value of at most 128 characters; `unknown` for what was left empty."""
    return (text or "").strip()[:MAX_LABEL].replace("\0", "\ufffd") or UNKNOWN


def hosts(given: str | list[str] | None) -> frozenset[str] | None:
    """Read the expected hosts: an array, an array in a string, or a plain list. Raises ValueError."""
    if given is None or given == "":
        return None
    if isinstance(given, str):
        text = given.strip()
        given = (_TEXTS.decode(text) or []) if text == "null" or text.startswith("[") else text.split(",")
    return frozenset(host for name in given if (host := name.strip()))


def time(text: str | None, zone: tzinfo, *, since: float | None = None) -> float | None:
    """Read a time, POSIX seconds; None if the platform gave none. Raises ValueError.

    When summer time ends, a text without an offset names two moments. It is the first, but where that lies
    before `since`, and the second does not.
    """
    text = (text or "").strip().upper()
    if not text or text.startswith(("0001-01-01", "0000-00-00")):
        return None
    if text[4:5] != "-" or text[10:11] not in {"T", " "}:
        raise ValueError("not a time")  # fromisoformat knows dates, weeks and numbers, too
    moment = datetime.fromisoformat(text)
    if moment.tzinfo:
        return moment.timestamp()
    first, second = (moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return second if since is not None and first < since <= second else first
