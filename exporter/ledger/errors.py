"""Errors of the ledger. A message is one line that says what to do.

LedgerError                 the ledger cannot be used
├── LedgerBusyError         another process uses it
└── LostLeadershipError     another replica may lead: nothing was written

Inside the package, `explained` turns SchemaError into these.
"""

import contextlib
import re
from collections.abc import Iterator

import msgspec
import sqlalchemy as sa


class SchemaError(Exception):
    """The database is not a ledger that this program can use."""


class LedgerError(Exception):
    """The ledger cannot be used."""


class LedgerBusyError(LedgerError):
    """Another process uses the ledger."""


class LostLeadershipError(LedgerError):
    """This replica does not lead: nothing was written."""


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn errors of the database into a LedgerError that says what to do."""
    try:
        yield
    except SchemaError as error:
        raise LedgerError(f"ledger {name}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerError(
            f"ledger {name} contains a value that this program did not write ({error}); "
            "restore it from a backup, or move it away to start anew"
        ) from None
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise LedgerError(f"ledger {name}: {advised(str(cause), getattr(cause, 'sqlstate', None))}") from None


# Advice by PostgreSQL's error codes, and by words of SQLite, psycopg and libpq, which have no code. The first
# pattern that fits decides.
_ADVICE = {
    "^25006": "this server is read-only; name the primary server in state.url",
    "^42501": "let this user make tables in its schema (GRANT USAGE, CREATE ON SCHEMA …) and own those of "
    "the ledger (ALTER TABLE … OWNER TO …), or give it a schema of its own",
    "^3F000": "the schema does not exist; make one for this user",
    "^53100|disk is full": "make room on its disk; nothing is lost meanwhile",
    "^25P03": "this process was paused, or has too little CPU; nothing is lost meanwhile",
    "^55P03": "another connection has locked its rows; if that lasts, end that connection on the server",
    "invalid (connection option|sslmode|port)": "correct it in state.url",
    "not a database": "it is not a ledger; name another file in state.url, or move this one away",
    # The rows of a damaged file may contradict each other.
    "malformed|decode to UTF-8|UNIQUE constraint": "it is damaged; restore it from a backup, or move it away "
    "to start anew",
    "unable to open": "name a file in a folder of this user in state.url",
    "readonly": "let this user write the file and its folder",
    "disk I/O error": "check its disk; nothing is lost meanwhile",
    "is locked": "another program writes to it; stop that one",
    "password authentication failed": "correct user and password in state.url",
    "no password supplied": "give a password in state.url, or a PGPASSFILE",
    "pg_hba.conf": "allow this user and address in the server's pg_hba.conf",
    "does not exist": "create it on the server, or name another in state.url",
    "statement pooling": "set the pooler to pool sessions or transactions",
    "too many": "raise max_connections of the server, or put a pooler in front of it",
    # After a statement that was cut off, the ROLLBACK fails with "another command …".
    "connection (failed|is bad|timeout|socket closed)|server closed the connection|terminating connection"
    "|another command is already in progress": "check that the server runs and can be reached from here; "
    "nothing is lost meanwhile",
    "failed to resolve": "correct the name of the server in state.url",
}
_GUESSES = re.compile(r" (?:Is the server running|This probably means) .*")  # libpq's, less precise than ours


def advised(message: str, code: str | None = None) -> str:
    """What the database said, and what to do about it."""
    message = _GUESSES.sub("", " ".join(message.split()))[:200]
    fitting = (advice for pattern, advice in _ADVICE.items() if re.search(pattern, f"{code} {message}"))
    advice = next(fitting, None)
    return f"{message}: {advice}" if advice else message
