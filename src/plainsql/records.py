"""The frozen records that travel between the rooms, in the order of the flow.

    Question ─▶ Links ─▶ [Candidate] ─▶ Verdict, Rows ─▶ Answer

Tables and columns are named by their positions: `table` is an index into
`Schema.tables`, `column` an index into the flat `Schema.columns`. Spans are
half-open ranges of word positions in `Question.words`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION = 1
Value = str | int | float
Cell = None | str | int | float | bytes


@dataclass(frozen=True, slots=True)
class Word:
    """One token of a question: `text` as typed, `start:end` its characters."""

    text: str
    lemma: str  # lower-case dictionary form: "cities" -> "city"
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question split into words (letters, digits, quotes and punctuation)."""

    text: str
    words: tuple[Word, ...]


class MatchKind(StrEnum):
    """How a span of the question names a table or a column."""

    EXACT = "exact"  # all words of the name, as lemmas
    PARTIAL = "partial"  # some words of the name
    SOFT = "soft"  # other words of like meaning, by word vectors


@dataclass(frozen=True, slots=True)
class NameMatch:
    """Words `start:end` of the question name a table (or one of its columns)."""

    start: int
    end: int
    kind: MatchKind
    table: int
    column: int | None = None  # None: the table itself
    score: float = 1.0  # in (0, 1]


class ValueKind(StrEnum):
    """Where a value candidate comes from."""

    CELL = "cell"  # a cell of the database whose text the question contains
    QUOTED = "quoted"  # a span the user put in quotation marks
    NUMBER = "number"  # digits, or a number in words
    DATE = "date"  # a date, normalised to ISO 8601
    CAPITALISED = "capitalised"  # a run of capitalised words
    CONSTANT = "constant"  # not in the question: 0, 1, ...


@dataclass(frozen=True, slots=True)
class ValueCandidate:
    """A literal the query may use, with the words and cells it was found in.

    `start == end == 0` for constants. `columns` holds the columns in which the
    value occurs as a cell (empty where it was not looked up or not found).
    """

    value: Value
    kind: ValueKind
    start: int = 0
    end: int = 0
    columns: tuple[int, ...] = ()
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Links:
    """What linking found: which words mean which names and values."""

    question: Question
    names: tuple[NameMatch, ...] = ()
    values: tuple[ValueCandidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one part of a query came from, for `--explain`."""

    part: str  # the SQL fragment: "student.age", "'France'", "count(*)"
    role: str  # "table", "column", "value", "operation"
    words: str = ""  # the words of the question, "" when none were matched
    note: str = ""  # how they were matched


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proposed query. `score` is a log-probability, higher is better."""

    sql: str
    score: float
    translator: str
    origins: tuple[Origin, ...] = ()
    features: tuple[float, ...] = ()  # what choosing may weigh; see translators


@dataclass(frozen=True, slots=True)
class Verdict:
    """The guard's judgement of exactly the text `sql`."""

    sql: str
    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """The result of a statement. `truncated` says the row limit cut it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    truncated: bool = False
    elapsed_ms: float = 0.0


class Status(StrEnum):
    """How a question ended; each has one exit code (see errors)."""

    ANSWERED = "answered"
    NOT_EXECUTED = "not_executed"
    UNANSWERABLE = "unanswerable"
    AMBIGUOUS = "ambiguous"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Alternative:
    """A query that was not chosen, with its share of the confidence."""

    sql: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What `ask` returns: the query, its rows and a sentence about them."""

    status: Status
    question: str
    sql: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    truncated: bool = False
    answer: str = ""
    confidence: float = 0.0  # estimated probability that the rows are right
    alternatives: tuple[Alternative, ...] = ()
    translator: str = ""
    timing_ms: dict[str, float] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()

    @property
    def row_count(self) -> int:
        """Number of rows returned (after the row limit)."""
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The object that `ask --json` prints, in its documented key order."""
        return {
            "schema_version": SCHEMA_VERSION,
            "status": self.status.value,
            "question": self.question,
            "sql": self.sql,
            "columns": list(self.columns),
            "rows": [[_plain(cell) for cell in row] for row in self.rows],
            "row_count": self.row_count,
            "truncated": self.truncated,
            "answer": self.answer,
            "confidence": round(self.confidence, 4),
            "alternatives": [asdict(item) for item in self.alternatives],
            "translator": self.translator,
            "timing_ms": {key: round(ms, 2) for key, ms in self.timing_ms.items()},
        }

    def df(self) -> pandas.DataFrame:
        """The rows as a DataFrame. Raises `MissingExtra` without pandas."""
        try:
            import pandas
        except ImportError as error:
            from plainsql.errors import MissingExtra

            raise MissingExtra("Answer.df()", "all") from error
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def _plain(cell: Cell) -> None | str | int | float:
    """A cell as JSON can hold it: bytes become `0x…` in hexadecimal."""
    return "0x" + cell.hex() if isinstance(cell, bytes) else cell
