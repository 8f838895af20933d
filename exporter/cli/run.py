"""The command `run`: the daemon."""

import asyncio
from collections.abc import Mapping, Sequence

from exporter import app, logs
from exporter.cli import notify
from exporter.settings import load


def run(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the daemon until a signal stops it. Raises SettingsError, ConfigError, LedgerError, WebError."""
    settings = load(argv, environ)
    logs.configure(level=settings.log.level, form=settings.log.format)

    async def started(_: app.Exporter) -> None:
        notify.ready(environ)

    asyncio.run(app.run(settings, started=started))
    return 0
