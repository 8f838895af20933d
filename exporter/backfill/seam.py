"""Where live counting began, and which records are its own: the ledger, read beside the daemon.

The ledger is opened read-only and without its lock; it is neither made nor brought up to date.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec
import sqlalchemy as sa

from exporter import schema
from exporter.backfill.window import BackfillError
from exporter.schema import counters, followed, settled
from exporter.tracker import Beginning, Outcome
from exporter.writing import chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Where live counting began."""

    horizon: float  # what ended by then is the backfill's; the platform's clock
    created: float  # counters stand at 0 since then; our clock


class Live:
    """The ledger of the daemon; everything raises BackfillError."""

    def __init__(self, url: str, *, platform: str) -> None:
        """Open it; refuse that of another platform, and one that does not say yet where counting began."""
        self._engine = _engine(url)
        self._name = self._engine.url.render_as_string(hide_password=True)
        with self._reading() as connection:
            if schema.meta.name not in sa.inspect(connection).get_table_names():
                raise BackfillError(f"{self._name} is no ledger: name the daemon's in state.url")
            owner = schema.get(connection, "platform", str)
            beginning = schema.get(connection, "beginning", Beginning)
            created = connection.scalar(sa.select(sa.func.min(counters.c.born)).where(counters.c.born > 0))
        if owner != platform:
            raise BackfillError(f"the ledger {self._name} belongs to the platform {owner}, not {platform}")
        if beginning is None or created is None:
            raise BackfillError(
                f"the ledger {self._name} does not say yet where counting began: let the daemon poll once"
            )
        self.seam = Seam(horizon=beginning.began, created=created)

    def close(self) -> None:
        """Let go of the ledger."""
        self._engine.dispose()

    def owns(self, ids: Collection[str]) -> set[str]:
        """Which of these records live counting has counted, follows, or saw vanish."""
        owned: set[str] = set()
        with self._reading() as connection:
            for chunk in chunks(list(ids)):
                mine = settled.c.outcome != Outcome.BASELINE
                owned.update(connection.scalars(sa.select(settled.c.id).where(settled.c.id.in_(chunk), mine)))
                owned.update(connection.scalars(sa.select(followed.c.id).where(followed.c.id.in_(chunk))))
        return owned

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, msgspec.DecodeError) as error:
            said = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
            raise BackfillError(f"the ledger {self._name} can't be read: {said}") from None


def live(url: str, *, platform: str) -> Live | None:
    """The ledger at this address; None where there is none (a file that does not exist)."""
    path = _file(url)
    return None if path is not None and not path.exists() else Live(url, platform=platform)


def _file(url: str) -> Path | None:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise BackfillError("state.url is not understood; write sqlite:///PATH") from None
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _engine(url: str) -> sa.Engine:
    path = _file(url)
    try:
        if path is None:
            return sa.create_engine(url, execution_options={"postgresql_readonly": True})
        return sa.create_engine(f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true")
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
        raise BackfillError(f"state.url is not understood ({type(error).__name__})") from None
