"""Log lines on standard error: one line per event, as logfmt or JSON.

Values can come from the platform: unprintable characters are escaped, long values are cut.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

MAX_VALUE = 500  # characters: lines stay readable, and a message from the platform cannot fill the disk
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(*, level: str, form: str) -> None:
    """Log events of structlog and of libraries to standard error; `form` is logfmt or json."""
    render: Any
    if form == "json":
        render = structlog.processors.JSONRenderer(ensure_ascii=True)
    else:
        render = structlog.processors.LogfmtRenderer(key_order=("time", "level", "event"), bool_as_flag=False)
    shared: list[Any] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        _one_line,
    ]
    to_formatter = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, to_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_rendered(render)])
    )
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)
    # At info level these log every successful request, some with its URL.
    for name in ("httpx", "httpcore", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
    # It warns about each poll skipped because the previous one still runs; that is intended.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # It logs a traceback for each broken connection; the ledger's own error is one line.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def _one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape unprintable characters and cut long values."""
    for key, value in event.items():
        if isinstance(value, str):
            limit = MAX_VALUE if key != "exception" else 20 * MAX_VALUE
            text = value if len(value) <= limit else value[:limit] + "…"
            event[key] = "".join(char if char.isprintable() else _escaped(char) for char in text)
    return event


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _rendered(render: Any) -> Any:
    """Remove the formatter's internal keys, then render."""

    def process(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        event.pop("_record", None)
        event.pop("_from_structlog", None)
        return render(logger, method, event)

    return process
