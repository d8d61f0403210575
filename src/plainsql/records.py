"""The frozen records that travel between the rooms, in the order of the flow.

    Question ─▶ Links ─▶ [Candidate] ─▶ Verdict, Rows ─▶ Answer

Tables and columns are named by their positions: `table` is an index into
`Schema.tables`, `column` an index into the flat `Schema.columns`. Spans are
half-open ranges of word positions in `Question.words`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION = 1
SENT = "sent"  # the role of an origin that tells what left the machine
MODEL_FAILED = "model failed"  # the stage of a step that a person should hear of
Value = str | int | float
# What an engine's values become; see `cell_text` and `cell_json` for their looks.
Cell = None | bool | int | float | str | bytes | Decimal

_EXACT_INT = 2**53  # the integers up to here are doubles, which JSON readers use
_EXACT_DIGITS = 15  # ... and so are, to and fro, decimals of so many digits (IEEE 754 binary64)
_EXACT_POWER = 300  # ... within this power of ten


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
    tables: tuple[int, ...] = ()  # of a large schema the ones to look at, best first; (): all


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one part of a query came from, for `--explain`."""

    part: str  # the SQL fragment: "student.age", "'France'", "count(*)"
    role: str  # "table", "column", "value", "operation" or SENT
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
class Attempt:
    """A candidate that did not do, and what is known of why: what a translator mends."""

    candidate: Candidate
    problem: str  # the engine's or the guard's message, or what is odd about the rows
    names: tuple[str, ...] = ()  # the nearest real tables, columns or values


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that `ask` did, for `Answer.trace`. The same input gives the same steps."""

    stage: str  # "propose", "try", "choose", "ask model", "repair", "stop" or MODEL_FAILED
    what: str  # "8 candidates of parser"
    why: str = ""


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
    trace: tuple[Step, ...] = ()  # what was done, in order, and why

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
            "rows": [[cell_json(cell) for cell in row] for row in self.rows],
            "row_count": self.row_count,
            "truncated": self.truncated,
            "answer": self.answer,
            "confidence": round(self.confidence, 4),
            "alternatives": [asdict(item) for item in self.alternatives],
            "translator": self.translator,
            "timing_ms": {key: round(ms, 2) for key, ms in self.timing_ms.items()},
            "trace": [asdict(step) for step in self.trace],
        }

    def df(self) -> pandas.DataFrame:
        """The rows as a DataFrame. Raises `MissingExtra` without pandas."""
        try:
            import pandas
        except ImportError as error:
            from plainsql.errors import MissingExtra

            raise MissingExtra("Answer.df()", "all") from error
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def cell_text(cell: Cell) -> str:
    """A cell as the text that tables and CSV show; NULL is "".

    Decimals keep all their digits and have no exponent; true, false, NaN,
    Infinity and -Infinity are these words; bytes are 0x… in hexadecimal.
    """
    match cell:
        case None:
            return ""
        case str():
            return cell
        case bool():
            return "true" if cell else "false"
        case bytes():
            return "0x" + cell.hex()
        case float() | Decimal() if not_finite(cell):
            return _word(cell)
        case Decimal():
            return format(cell, "f")
        case _:
            return str(cell)


def cell_json(cell: Cell) -> None | bool | int | float | str:
    """A cell as JSON holds it without loss, whoever reads it.

    A number where a double holds it exactly (whole numbers up to 2^53, decimals
    of up to 15 significant digits), else its text; so are NaN, the infinities
    and bytes (I-JSON, RFC 7493 section 2.2).
    """
    match cell:
        case None | str() | bool():
            return cell
        case int():
            return cell if abs(cell) <= _EXACT_INT else str(cell)
        case float():
            return _word(cell) if not_finite(cell) else cell
        case Decimal() if _is_double(cell):
            return int(cell) if cell.as_tuple().exponent == 0 else float(cell)
        case _:
            return cell_text(cell)


def comparable(cell: Cell) -> Cell:
    """A cell such that equal ones are equal in Python: 0.10 as a decimal and 0.1 as a float."""
    if type(cell) is float:
        return cell if cell - cell == 0 else _word(cell)
    if type(cell) is not Decimal:
        return cell
    if not_finite(cell):
        return _word(cell)
    if not _is_double(cell):
        return cell
    return int(cell) if cell == cell.to_integral_value() else float(cell)


def not_finite(number: float | Decimal) -> bool:
    """Whether a number is NaN or infinite; unlike `math`, also for signalling NaN."""
    return not number.is_finite() if isinstance(number, Decimal) else number - number != 0


def _word(number: float | Decimal) -> str:
    """NaN, Infinity or -Infinity."""
    text = str(number).lower()
    if "nan" in text:
        return "NaN"
    return "-Infinity" if text.startswith("-") else "Infinity"


def _is_double(number: Decimal) -> bool:
    if not number.is_finite():
        return False
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return len(digits) <= _EXACT_DIGITS and abs(number.adjusted()) <= _EXACT_POWER
