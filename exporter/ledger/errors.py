"""What a database says when it fails, turned into one line that says what to do about it.

LedgerError            the ledger can't be used
├── LedgerBusyError         another process holds it
└── LostLeadershipError     another replica may have taken over: nothing was written

Two more stay inside the package and become one of these: SchemaError and NotLeadingError.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping

import msgspec
import sqlalchemy as sa


class SchemaError(Exception):
    """The database is not a ledger that this program can use; the message says why and what to do."""


class NotLeadingError(Exception):
    """Another replica has taken over, or this one never led."""


class LedgerError(Exception):
    """The ledger can't be used."""


class LedgerBusyError(LedgerError):
    """Another process holds the ledger."""


class LostLeadershipError(LedgerError):
    """This replica does not lead, or no longer: what it wanted to write was not written."""


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the database says into a LedgerError that says what to do."""
    try:
        yield
    except SchemaError as error:
        raise LedgerError(f"ledger {name}: {error}") from None
    except msgspec.DecodeError as error:
        raise LedgerError(
            f"ledger {name} holds what this program did not write ({error}); "
            "move it away to start anew, or restore it from a backup"
        ) from None
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        raise LedgerError(f"ledger {name}: {advised(str(cause), getattr(cause, 'sqlstate', None))}") from None


# What PostgreSQL's codes and words (where there is no code: while connecting), and SQLite's words ask for.
_BY_CODE: Mapping[str, str] = {
    "25006": "that server only reads; name the one that writes in state.url",
    "42501": "let this user make tables in its schema (GRANT USAGE, CREATE ON SCHEMA …) and own those of the "
    "ledger (ALTER TABLE … OWNER TO …), or give it a schema of its own",
    "3F000": "there is no schema to write to; make one that this user may use",
    "53100": "make room on its disk; nothing is lost meanwhile",
    "25P03": "this process was paused, or has too little of the CPU; nothing is lost meanwhile",
    "55P03": "another connection holds its rows; if that lasts, end that one on the server",
}
_REACH = "see that the server runs and can be reached from here; nothing is lost meanwhile"
_DAMAGED = "it is damaged; restore it from a backup, or move it away to start anew"
_BY_WORDS: Mapping[str, str] = {
    "invalid connection option": "correct it in state.url",
    "invalid sslmode": "correct it in state.url",
    "invalid port": "correct it in state.url",
    "not a database": "it is not a ledger; name another file in state.url, or move this one away",
    "malformed": _DAMAGED,
    "decode to UTF-8": _DAMAGED,
    "UNIQUE constraint": _DAMAGED,  # its rows contradict each other
    "unable to open": "name a file in a folder of this user in state.url",
    "readonly": "let this user write the file and its folder",
    "disk is full": "make room on its disk; nothing is lost meanwhile",
    "disk I/O error": "see to its disk; nothing is lost meanwhile",
    "is locked": "another program writes to it; stop that one",
    "password authentication failed": "give the right user and password in state.url",
    "no password supplied": "give a password in state.url, or a PGPASSFILE",
    "pg_hba.conf": "let this user in from here, in the server's pg_hba.conf",
    "does not exist": "make it on the server, or name another in state.url",
    "statement pooling": "let the pooler pool sessions or transactions",
    "too many": "raise max_connections of the server, or put a pooler before it",
    "connection failed": _REACH,
    "connection is bad": _REACH,
    "connection timeout": _REACH,
    "server closed the connection": _REACH,
    "terminating connection": _REACH,
    "connection socket closed": _REACH,
    "another command is already in progress": _REACH,  # a statement was cut short, so the ROLLBACK failed
    "failed to resolve": "name the server in state.url as it can be found from here",
}


# What libpq adds to an error: guesses, where the advice says what to do.
_GUESSES = re.compile(r" (?:Is the server running|This probably means) .*")


def advised(said: str, code: str | None = None) -> str:
    """What a database said, and what to do about it."""
    said = _GUESSES.sub("", " ".join(said.split()))[:200]
    advice = _BY_CODE.get(code or "") or next(
        (advice for words, advice in _BY_WORDS.items() if words in said), None
    )
    return f"{said}: {advice}" if advice else said
