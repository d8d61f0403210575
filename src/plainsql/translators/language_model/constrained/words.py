"""The tokens of the grammar that no schema changes: keywords, signs, functions, literals.

A token is as long as it can be: when a sign fits into the one that is being read,
it belongs to it, even where it could begin the next. So no token has an optional
end that begins like a token that may follow: DESC and NULLS LAST are two.

White space belongs to the token it stands around, a bounded number of signs: so a
keyword never touches a name, and a text made of blanks can't go on for ever.
"""

from __future__ import annotations

from plainsql.translators.language_model.constrained.terminals import (
    Exact,
    Folded,
    OneOf,
    Row,
    Terminal,
    Times,
    either,
    maybe,
    row,
)

MOST_BLANKS = 8  # a line break and an indentation; 8 levels of them are seldom needed
MOST_DIGITS = 12
MOST_TEXT = 60  # characters of a string up to a quote inside it, twice as many behind it

_BLANK = OneOf("[ \\t\\n]")
GAP = Times(_BLANK, 1, MOST_BLANKS)
SPACE = Times(_BLANK, 0, MOST_BLANKS)


def _words(text: str, *, after: bool = True, before: bool = True) -> Row:
    """Keywords with a gap between them, and around them where there are operands."""
    parts: list[Terminal] = [GAP] if before else []
    for at, word in enumerate(text.split()):
        parts += [GAP, Folded(word)] if at else [Folded(word)]
    return Row((*parts, GAP) if after else tuple(parts))


def _sign(*texts: str) -> Row:
    return row(SPACE, either(*map(Exact, texts)), SPACE)


ORDER = _words("order by")
_NOT = maybe(row(Folded("not"), GAP))
_OPEN = row(Exact("("), SPACE)
_LEFT = row(Folded("left"), GAP, maybe(row(Folded("outer"), GAP)))
_JOIN = row(GAP, maybe(either(row(Folded("inner"), GAP), _LEFT)), Folded("join"), GAP)


def _negatable(word: str) -> Row:
    return row(GAP, _NOT, Folded(word), GAP)


COMMON: dict[str, Terminal] = {
    "SELECT": _words("select", before=False),
    "DISTINCT": _words("distinct", before=False),
    "FROM": _words("from"),
    "JOIN": _JOIN,
    "ON": _words("on"),
    "WHERE": _words("where"),
    "GROUP": _words("group by"),
    "HAVING": _words("having"),
    "ORDER": ORDER,
    "AND": _words("and"),
    "ANDOR": row(GAP, either(Folded("and"), Folded("or")), GAP),
    "NOT": _words("not", before=False),
    "LIKE": _negatable("like"),
    "BETWEEN": _negatable("between"),
    "NULLS": row(GAP, Folded("is"), GAP, _NOT, Folded("null")),
    "IN": row(GAP, _NOT, Folded("in"), SPACE, _OPEN),
    "EXISTS": row(_NOT, Folded("exists"), SPACE, _OPEN),
    "CASE": _words("case when", before=False),
    "WHEN": _words("when"),
    "THEN": _words("then"),
    "ELSE": _words("else"),
    "ENDCASE": _words("end", after=False),
    "NULL": Folded("null"),
    "BOOLEAN": either(Folded("true"), Folded("false")),
    "DIRECTED": row(GAP, either(Folded("asc"), Folded("desc"))),
    "PLACED": row(_words("nulls"), either(Folded("first"), Folded("last"))),
    "EQUALS": _sign("="),
    "COMMA": _sign(","),
    "OPEN": _OPEN,
    "CLOSE": row(SPACE, Exact(")")),
    "STAR": Exact("*"),
    "NUMBER": row(
        maybe(Exact("-")),
        Times(OneOf("[0-9]"), 1, MOST_DIGITS),
        maybe(row(Exact("."), Times(OneOf("[0-9]"), 1, 6))),
    ),
    "DIGITS": Times(OneOf("[0-9]"), 1, 4),
    "LIMITED": row(_words("limit"), OneOf("[1-9]"), Times(OneOf("[0-9]"), 0, 5)),
    "OFFSET": row(_words("offset"), Times(OneOf("[0-9]"), 1, 6)),
    "END": row(SPACE, Exact(";")),
    "BLANKS": Times(_BLANK, 1, MOST_BLANKS),
    "FENCE": row(
        Exact("```"),
        maybe(either(Folded("sqlite"), Folded("sql"), Folded("postgresql"), Folded("mysql"))),
        Times(OneOf("[ \\n]"), 1, MOST_BLANKS),
    ),
    "UNFENCE": row(SPACE, Exact("\n```")),
}


def _called(*names: str) -> Terminal:
    """The beginning of a call, bracket included: else it could not be told from a column."""
    return row(either(*map(Folded, names)), _OPEN)


# Functions of one value and of two. That the guard allows each is tested.
_ONE = {
    "sqlite": "abs lower upper length trim ltrim rtrim round date time datetime julianday",
    "duckdb": "abs lower upper length trim round floor ceil year month day",
    "postgres": "abs lower upper length trim round floor ceil",
    "mysql": "abs lower upper length char_length trim round floor ceil year month day date",
    "": "abs lower upper trim round",
}
_TWO = {
    "sqlite": "coalesce ifnull nullif instr",
    "duckdb": "coalesce ifnull nullif",
    "mysql": "coalesce ifnull nullif",
    "": "coalesce nullif",
}
_TYPES = {
    "sqlite": "integer real text numeric float",
    "mysql": "signed char date datetime",
    "": "integer real text varchar date",
}
_DATE_FORMATS = ("%Y", "%m", "%d", "%H", "%w", "%j", "%Y-%m", "%Y-%m-%d")
_FIELDS = ("year", "month", "day")


def _of(table: dict[str, str], dialect: str) -> tuple[str, ...]:
    return tuple(table.get(dialect, table[""]).split())


def words_of(dialect: str) -> dict[str, Terminal]:
    """Every token of `dialect` that does not depend on the schema, by its name."""
    return {
        **COMMON,
        "STRING": _string(dialect),
        "OPERATOR": _operator(dialect),
        "COMPARES": _comparison(dialect),
        "SET": _set_operation(dialect),
        "CALL": _one_value(dialect),
        "ROUND": _called("round"),
        "PART": _called("substr", "substring"),
        "CALLTWO": _called(*_of(_TWO, dialect)),
        "AGGREGATE": _called("count", "sum", "avg", "min", "max"),
        "COUNTALL": row(_called("count"), Exact("*"), SPACE, Exact(")")),
        "CAST": _called("cast"),
        "ASTYPE": row(_words("as"), either(*map(Folded, _of(_TYPES, dialect))), SPACE, Exact(")")),
    }


def _string(dialect: str) -> Terminal:
    """A text in single quotes, two of which stand for one; elsewhere a backslash may escape."""
    apart = "" if dialect in ("sqlite", "duckdb", "postgres") else "\\\\"
    some = Times(OneOf(f"[^'\\x00-\\x1f\\x7f-\\x9f{apart}]"), 0, MOST_TEXT)
    quote = Exact("'")
    return row(quote, some, Times(row(Exact("''"), some), 0, 2), quote)


def _operator(dialect: str) -> Terminal:
    """Arithmetic. A minus keeps its blanks: two in a row would begin a comment.

    Behind || stands a blank too: PostgreSQL and DuckDB read ||- as one operator.
    """
    near = row(SPACE, OneOf("[+*/]"), SPACE)
    apart = either(Exact("-"), *([] if dialect == "mysql" else [Exact("||")]))
    return either(near, row(GAP, apart, GAP))


def _comparison(dialect: str) -> Terminal:
    """A blank follows != where != and - are read as one operator."""
    unequal = GAP if dialect in ("duckdb", "postgres") else SPACE
    signs = either(*map(Exact, ("=", "<>", "<", "<=", ">", ">=")))
    return either(row(SPACE, signs, SPACE), row(SPACE, Exact("!="), unequal))


def _set_operation(dialect: str) -> Terminal:
    union = row(Folded("union"), maybe(row(GAP, Folded("all"))))
    return row(GAP, either(union, Folded("intersect"), Folded("except")), GAP)


def _one_value(dialect: str) -> Terminal:
    """Calls of one value, and parts of dates up to the value."""
    plain = _called(*_of(_ONE, dialect))
    if dialect == "sqlite":
        formats = either(*(Exact(f"'{one}'") for one in _DATE_FORMATS))
        part = row(_called("strftime"), formats, SPACE, Exact(","), SPACE)
    else:
        part = row(_called("extract"), either(*map(Folded, _FIELDS)), _words("from"))
    return either(plain, part)
