"""Log lines on standard error: one line per event, as logfmt or JSON.

Values can come from the platform: unprintable characters are escaped, long values are cut.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

MAX_VALUE = 500  # characters: lines stay readable, and a message from the platform cannot fill the disk


def configure(*, level: str, form: str) -> None:
    """Log events of structlog and of libraries to standard error; `form` is logfmt or json."""
    render: Any = structlog.processors.JSONRenderer(ensure_ascii=True)
    if form == "logfmt":
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
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # At info level these log every successful request, some with its URL.
    for name in ("httpx", "httpcore", "asyncio", "aiohttp"):
        logging.getLogger(name).setLevel(max(logging.root.level, logging.WARNING))
    # It warns about each poll skipped because the previous one still runs; that is intended.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    # It logs a traceback for each broken connection; the ledger's own error is one line.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def _one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape unprintable characters and cut long values."""
    for key, value in event.items():
        if isinstance(value, str):
            limit = MAX_VALUE if key != "exception" else 20 * MAX_VALUE
            event[key] = escaped(value if len(value) <= limit else value[:limit] + "…")
    return event


def escaped(text: str) -> str:
    """Escape unprintable characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
