"""Why a row can't be learnt from."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The reasons that the report counts by."""

    UNREADABLE = "the row can't be read"
    NO_QUESTION = "no question"
    NO_SQL = "no SQL"
    NO_SCHEMA = "neither a database nor a schema is named"
    UNKNOWN_DATABASE = "the database is unknown"
    BAD_DATABASE = "the database can't be read"
    BAD_SCHEMA = "the schema can't be read"
    NO_PARSE = "the SQL does not parse"
    NO_QUERY = "the SQL is not one query"
    UNKNOWN_TABLE = "the SQL names a table that the schema lacks"
    REFUSED = "the guard refuses the SQL"
    NO_EXECUTION = "the SQL does not execute"
    TIMEOUT = "the SQL takes too long"


class Rejected(Exception):
    """A row is turned away; `detail` is what the parser, guard or engine said."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
