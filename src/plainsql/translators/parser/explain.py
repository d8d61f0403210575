"""Where each part of a query came from: the words, the column, the value."""

from __future__ import annotations

from collections.abc import Iterator

from plainsql.logical_form.space import Space
from plainsql.logical_form.tables import tables_of
from plainsql.logical_form.tree import Aggregate, ColumnRef, Literal, Order, Query, walk
from plainsql.records import Links, MatchKind, NameMatch, Origin, ValueCandidate, ValueKind

_HOW = {
    MatchKind.EXACT: "named in the question",
    MatchKind.PARTIAL: "named in part",
    MatchKind.SOFT: "a word of like meaning",
}
_VALUE = {
    ValueKind.CELL: "found in the cells",
    ValueKind.QUOTED: "quoted",
    ValueKind.NUMBER: "a number",
    ValueKind.DATE: "a date",
    ValueKind.CAPITALISED: "a name",
    ValueKind.CONSTANT: "implied",
}
_OPERATIONS = {
    "COUNT": ("how many", "number", "count"),
    "SUM": ("total", "sum", "altogether"),
    "AVG": ("average", "mean"),
    "MIN": ("least", "lowest", "smallest", "minimum", "earliest", "youngest"),
    "MAX": ("most", "highest", "largest", "maximum", "latest", "oldest"),
}


def origins(query: Query, links: Links, space: Space) -> tuple[Origin, ...]:
    """One record for each table, column, value and operation, in the order of the query."""
    found = [
        *_tables(query, links, space),
        *_columns(query, links, space),
        *_values(query, links, space),
        *_operations(query, links),
    ]
    return tuple(dict.fromkeys(found))


def _tables(query: Query, links: Links, space: Space) -> Iterator[Origin]:
    columns = {node.column for node in walk(query) if isinstance(node, ColumnRef)}
    owners = {space.schema.table_of[column] for column in columns}
    for table in sorted(tables_of(query, space.schema, space.graph)):
        names = [n for n in links.names if n.table == table and n.column is None]
        match = _best(names)
        note = _HOW[match.kind] if match else "holds a column" if table in owners else "joins"
        yield Origin(space.schema.tables[table].name, "table", _words(links, match), note)


def _columns(query: Query, links: Links, space: Space) -> Iterator[Origin]:
    for node in walk(query):
        if not isinstance(node, ColumnRef):
            continue
        column = space.schema.columns[node.column]
        match = _best([n for n in links.names if n.column == node.column])
        cell = next((v for v in links.values if node.column in v.columns), None)
        words, note = _words(links, match), _HOW[match.kind] if match else "inferred"
        if match is None and cell is not None:
            words, note = _words(links, cell), f"holds {cell.value!r}"
        yield Origin(f"{column.table}.{column.name}", "column", words, note)


def _values(query: Query, links: Links, space: Space) -> Iterator[Origin]:
    for node in walk(query):
        if isinstance(node, Literal):
            match = next((v for v in links.values if v.value == node.value), None)
            note = _VALUE[match.kind] if match else "implied"
            if match and match.columns:
                column = space.schema.columns[match.columns[0]]
                note += f" ({column.table}.{column.name})"
            yield Origin(repr(node.value), "value", _words(links, match), note)


def _operations(query: Query, links: Links) -> Iterator[Origin]:
    text = links.question.text.lower()
    for node in walk(query):
        if isinstance(node, Aggregate):
            words = next((w for w in _OPERATIONS[node.function] if w in text), "")
            yield Origin(f"{node.function.lower()}()", "operation", words)
        elif isinstance(node, Order):
            yield Origin("ORDER BY", "operation", "", "descending" if node.descending else "")


def _best(names: list[NameMatch]) -> NameMatch | None:
    order = (MatchKind.SOFT, MatchKind.PARTIAL, MatchKind.EXACT)
    return max(names, key=lambda n: (order.index(n.kind), n.score), default=None)


def _words(links: Links, match: NameMatch | ValueCandidate | None) -> str:
    """The question's own text of a match."""
    if match is None or match.start >= match.end:
        return ""
    words = links.question.words[match.start : match.end]
    return links.question.text[words[0].start : words[-1].end]
