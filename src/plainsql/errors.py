"""Every error plainsql raises on purpose, as one tree.

    PlainsqlError                 exit  http
    ├── UsageError                  2    400   the request itself can't be understood
    │   ├── QuestionError           2    400   empty or over-long question
    │   └── DataError               2    400   pairs to learn from that can't be used
    ├── UnanswerableError           3    422   nothing in the schema matches the question
    ├── AmbiguousError              4    422   several readings, none clearly best
    ├── DeniedError                 5    403   the guard refused the statement
    ├── ExecutionError              6    422   the SQL failed in the engine
    │   ├── QueryTimeout            6    504   the deadline passed
    │   └── ResourceLimit           6    413   rows, bytes or memory over the limit
    ├── ConnectError                7    503   the database can't be opened or read
    │   ├── ConnectionLost          7    503   the server went away while it was asked
    │   └── SchemaError             7    422   the database has no usable tables
    ├── ModelError                  7    503   weights missing, corrupt or of another version
    ├── TrainingError               1    500   training or saving could not go on
    └── MissingExtra                2    501   an optional dependency is not installed

`hint` says what to do next; `exit_code` and `http_status` are for machines.
"""

from __future__ import annotations


class PlainsqlError(Exception):
    """The root: catch this to catch everything plainsql raises on purpose."""

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PlainsqlError):
    """The request can't be understood: a wrong flag, a wrong value."""

    exit_code = 2
    http_status = 400


class QuestionError(UsageError):
    """The question is empty, too long, or not a question."""


class DataError(UsageError):
    """A data set, or a row of it, can't be used for training or measuring."""


class UnanswerableError(PlainsqlError):
    """Nothing in the schema matches the question."""

    exit_code = 3
    http_status = 422


class AmbiguousError(PlainsqlError):
    """Several readings of the question are about equally likely."""

    exit_code = 4
    http_status = 422


class DeniedError(PlainsqlError):
    """The guard refused the statement; it was not executed."""

    exit_code = 5
    http_status = 403


class ExecutionError(PlainsqlError):
    """The engine reported an error while running the statement."""

    exit_code = 6
    http_status = 422


class QueryTimeout(ExecutionError):
    """The statement ran past its deadline and was stopped."""

    http_status = 504


class ResourceLimit(ExecutionError):
    """The statement needed more rows, bytes or memory than it may use."""

    http_status = 413


class ConnectError(PlainsqlError):
    """The database can't be opened or read."""

    exit_code = 7
    http_status = 503


class ConnectionLost(ConnectError):
    """The server ended the connection, or can't be reached any more, in mid-query."""


class SchemaError(ConnectError):
    """The database has no usable tables, or its schema file is malformed."""

    http_status = 422


class ModelError(PlainsqlError):
    """Model weights are missing, corrupt, or made for another version."""

    exit_code = 7
    http_status = 503


class TrainingError(PlainsqlError):
    """Training, merging or saving could not go on; what was saved before is intact."""


class MissingExtra(PlainsqlError):
    """An optional dependency is needed and not installed."""

    exit_code = 2
    http_status = 501

    def __init__(self, feature: str, extra: str, *, hint: str = "") -> None:
        super().__init__(
            f"{feature} needs an optional dependency.",
            hint=hint or f"pip install 'plainsql[{extra}]'",
        )
