"""The rules of SELECT that no schema changes, written over its scopes.

Precedence is left out: a grammar that only says what may follow what needs none.
Lists, brackets and sub-queries are bounded, so that every path ends.

Notation: c are columns, f what FROM holds (both given by the caller); a atoms, k
calls, v values, g aggregates, w and x what holds them, z the rest of a predicate
behind its first value.
"""

from __future__ import annotations

from collections.abc import Sequence

from plainsql.translators.language_model.constrained.rules import Rules
from plainsql.translators.language_model.constrained.terminals import (
    Exact,
    Folded,
    either,
    maybe,
    row,
)
from plainsql.translators.language_model.constrained.words import GAP, ORDER

Depths = Sequence[Sequence[int]]  # the scopes of whole queries, of queries in these, ...

_ALIASES = "found part sub derived result sq t"  # of a query in FROM
_MEMBERS = (1, 2, 3)  # columns that both sides of a set operation may have


def add_queries(out: Rules, depths: Depths, dialect: str) -> None:
    """All rules beside c@, star@ and f@ of each scope; the first one is `start`."""
    out.add("start", "BLANKS? sql END? BLANKS?", "BLANKS? FENCE sql END? UNFENCE BLANKS?")
    _expressions(out, sorted({scope for scopes in depths for scope in scopes}))
    for depth, scopes in enumerate(depths):
        _query(out, depth, scopes, last=depth + 1 == len(depths))
    _whole(out, depths[0])
    _statements(out, depths, dialect)
    _derived(out, depths[1], dialect)


def _expressions(out: Rules, scopes: Sequence[int]) -> None:
    """Values, with and without aggregates."""

    def add(name: str, *alternatives: str) -> None:
        out.add(name, *alternatives, scopes=scopes)

    calls, held = _calls("a@"), _calls("h@")
    add("a@", "c@", "literal")
    add("k@", calls, "OPEN a@ (OPERATOR a@){1,2} CLOSE")
    add("e@", "a@", "k@")
    add("v@", "e@ (OPERATOR e@){0,2}")
    add("r@", "a@", "NULL")
    add("case@", "CASE v@ z@ THEN r@ (WHEN v@ z@ THEN r@){0,3} (ELSE r@)? ENDCASE")
    add("g@", "COUNTALL", "AGGREGATE DISTINCT? v@ CLOSE", "AGGREGATE case@ CLOSE")
    add("i@", "a@", "g@", "k@")
    add("h@", "i@ (OPERATOR i@){0,2}")
    add("w@", "g@", "case@", held)
    add("x@", "a@", "w@", "OPEN h@ CLOSE")
    add("j@", "x@ (OPERATOR x@){0,2} TITLE?")
    add("z@", "COMPARES v@", "LIKE STRING", "NULLS", "IN literals CLOSE", "BETWEEN a@ AND a@")
    # What is grouped or sorted by must hold a column: a bare number would be a position.
    add("b@", "c@", calls)
    add("oplain@", "c@ (OPERATOR e@){0,2}", calls)
    add("ogroup@", "c@ (OPERATOR x@){0,2}", "w@ (OPERATOR x@){0,2}")
    add("oby@", "oplain@ direction? (COMMA oplain@ direction?){0,2}")
    add("gby@", "ogroup@ direction? (COMMA ogroup@ direction?){0,2}")


def _calls(value: str) -> str:
    """Calls of functions that are no aggregates."""
    with_numbers = f"ROUND {value} COMMA DIGITS CLOSE | PART {value} numbers"
    plain = f"CALL {value} CLOSE | CALLTWO {value} COMMA {value} CLOSE"
    return f"{plain} | {with_numbers} | CAST {value} ASTYPE"


def _query(out: Rules, depth: int, scopes: Sequence[int], *, last: bool) -> None:
    """The clauses of a query that stands in `depth` others; in the last, none is nested."""

    def add(name: str, *alternatives: str) -> None:
        out.add(name, *alternatives, scopes=scopes)

    d, deeper = f"d{depth}", depth + 1
    nested = [] if last else [f"COMPARES scalar{deeper}", f"IN one{deeper} CLOSE"]
    exists = [] if last else [f"EXISTS any{deeper} CLOSE"]
    add(f"q{d}@", f"v@ ({' | '.join(['z@', *nested])})", *exists)
    group = f"OPEN q{d}@ (ANDOR q{d}@){{0,3}} CLOSE"
    add(f"u{d}@", f"NOT? q{d}@", f"NOT? {group}")
    add(f"and{d}@", f"u{d}@ (ANDOR u{d}@){{0,5}}")
    than = ["COMPARES x@", *nested[:1], "BETWEEN literal AND literal"]
    add(f"l{d}@", f"x@ ({' | '.join(than)})")
    add(f"have{d}@", f"l{d}@ (ANDOR l{d}@){{0,2}}")
    add(f"from{d}@", f"FROM f@ (WHERE and{d}@)?")
    add(f"group{d}@", f"GROUP b@ (COMMA b@){{0,4}} (HAVING have{d}@)?")
    add(f"tail{d}@", f"from{d}@ (ORDER oby@ | group{d}@ (ORDER gby@)?)? limit?")
    if depth:
        add(f"o{d}@", f"SELECT DISTINCT? j@ tail{d}@")
        add(f"m{d}@", f"SELECT DISTINCT? j@ from{d}@ group{d}@?")
    if depth == 1:
        add("rowsof@", f"SELECT DISTINCT? (j@ (COMMA j@){{0,3}} | STAR) tail{d}@")


def _whole(out: Rules, scopes: Sequence[int]) -> None:
    """A query that is in no other one, alone or as a member of a set operation."""
    out.add("item@", "x@ (OPERATOR x@){0,2} (OPERATOR scalar1)? TITLE?", "star@", scopes=scopes)
    out.add("s@", "SELECT DISTINCT? (item@ (COMMA item@){0,9} | STAR) taild0@", scopes=scopes)
    for many in _MEMBERS:
        items = " COMMA ".join(["j@"] * many)
        query = f"SELECT DISTINCT? {items} fromd0@ groupd0@?"
        out.add(f"m{many}@", query, scopes=scopes)
        ones = " COMMA ".join(["NUMBER"] * many)
        out.add(f"member{many}", *(f"m{many}@{at}" for at in scopes), f"SELECT {ones}")
        positions = either(*(Exact(str(number)) for number in range(1, many + 1)))
        by = out.terminal(f"BY{many}", row(ORDER, positions))
        members = f"member{many} (SET member{many}){{1,2}}"
        out.add(f"set{many}", f"{members} ({by} direction?)? limit?")


def _statements(out: Rules, depths: Depths, dialect: str) -> None:
    """Whole statements, and queries of one column that are nested in them."""
    for depth, scopes in enumerate(depths[1:], start=1):
        whole = [f"od{depth}@{at}" for at in scopes]
        out.add(f"part{depth}", *(f"md{depth}@{at}" for at in scopes), "SELECT NUMBER")
        several = f"part{depth} (SET part{depth}){{1,2}}"
        out.add(f"one{depth}", *whole, "SELECT NUMBER", several)
        out.add(f"scalar{depth}", f"OPEN one{depth} CLOSE")
        stars = (f"SELECT STAR taild{depth}@{at}" for at in scopes)
        out.add(f"any{depth}", f"one{depth}", *stars)
    kinds = ["alone", "ofquery", *(f"set{many}" for many in _MEMBERS)]
    out.add("sql", *(f"s@{at}" for at in depths[0]), *kinds)
    out.add("literal", "NUMBER", "STRING", "BOOLEAN")
    out.add("literals", "literal (COMMA literal){0,15}")
    out.add("limit", "LIMITED OFFSET?")
    nulls = () if dialect in ("mysql", "tsql") else ("PLACED?",)
    out.add("direction", " ".join(("DIRECTED", *nulls)))
    out.add("numbers", "(COMMA DIGITS){1,2} CLOSE")
    out.add("constant", "literal", "scalar1")
    out.add("constants", "constant (OPERATOR constant){0,2} TITLE?")
    out.add("alone", "SELECT constants (COMMA constants){0,3}")


def _derived(out: Rules, scopes: Sequence[int], dialect: str) -> None:
    """`SELECT COUNT(*) FROM (SELECT ...) AS found`."""
    names = either(*map(Folded, _ALIASES.split()))
    out.terminal("DERIVED", row(GAP, maybe(row(Folded("as"), GAP)), names))
    optional = "?" if dialect in ("sqlite", "duckdb") else ""
    several = "part1 (SET part1){1,2}"
    out.add("rows", *(f"rowsof@{at}" for at in scopes), "SELECT NUMBER", several)
    what = "SELECT (COUNTALL TITLE? | STAR)"
    out.add("ofquery", f"{what} FROM OPEN rows CLOSE DERIVED{optional} limit?")
