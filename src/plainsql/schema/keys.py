"""Foreign keys that were not declared, inferred from names, types and values.

Many databases declare few keys or none. A column is taken to refer to the key
of another table by the first of these rules that gives a target (`RULES`):

    namesake       writes.paper_id       -> paper.paper_id
    table and key  orders.customer_id    -> customers.id
    same name      salary.emp_no         -> staff.emp_no
    with a role    trip.start_station_id -> station.id
    last word      posts.user_id         -> auth_users.id
    table alone    match.winning_pilot   -> pilot.pilot_id
    by values      flights.Airline       -> airlines.uid
    same values    wine.appellation      -> appellations.appellation
    own table      category.parent_id    -> category.id
    sparse values  student.advisor       -> faculty.facid

Names alone must say that the column is an identifier; where they don't, the
values decide. Where values can be looked at they also veto: a column whose
values are mostly missing from the target does not refer to it.
note: the idea of combining name similarity with value containment is that of
Rostin et al., "A machine learning approach to foreign key discovery", WebDB
2009, and of inclusion dependencies before it; the rules here are our own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from plainsql.schema.key_names import (
    CONTAINED,
    GENERIC,
    KEY_TYPES,
    MEASURES,
    KeyNames,
    ValuesContained,
    squashed,
)
from plainsql.schema.key_rules import RULES
from plainsql.schema.model import ColumnType, ForeignKey, Schema

# A name that more tables have says nothing about any two of them.
MAX_HOLDERS = 50
# What two tables may both have without having to do with each other.
_NOT_TELLING = MEASURES | frozenset(
    ("name", "sex", "gender", "population", "country", "city", "nationality")
)


def infer_foreign_keys(
    schema: Schema,
    values_contained: ValuesContained | None = None,
    *,
    unique: Collection[tuple[str, str]] = (),
) -> Schema:
    """The schema with keys added that are marked as inferred.

    Columns that are already part of a declared key get no other target.
    `unique` holds (table, column) in lower case for columns known to be unique
    besides the primary keys. Deterministic as far as `values_contained` is.
    """
    names = KeyNames(schema, values_contained, frozenset(unique))
    for find in (_single_keys, _composite_keys, _shared_columns):
        found = tuple(find(schema, names))
        schema = replace(schema, foreign_keys=(*schema.foreign_keys, *found))
    return schema


def _single_keys(schema: Schema, names: KeyNames) -> Iterator[ForeignKey]:
    """One inferred key for each column that a rule finds a target for."""
    taken = _referring(schema)
    for column, record in enumerate(schema.columns):
        if column in taken or record.type not in KEY_TYPES:
            continue
        target = next((t for rule in RULES if (t := rule(names, column)) is not None), None)
        if target is not None:
            yield _inferred(schema, [column], [target.column])


def _composite_keys(schema: Schema, names: KeyNames) -> Iterator[ForeignKey]:
    """Tables with columns called as all columns of another table's composite key.

    One of them must be an identifier that refers to nothing else: two tables
    that both link students with courses don't refer to each other.
    """
    referring = _referring(schema)
    declared = {(key.table, key.ref_table) for key in schema.foreign_keys if len(key.columns) > 1}
    named = [_by_name(schema, table) for table in range(len(schema.tables))]
    holders: dict[str, list[int]] = {}
    for table, columns in enumerate(named):
        for name in columns:
            holders.setdefault(name, []).append(table)
    for table, columns in enumerate(named):
        key = [name for name, c in columns.items() if schema.columns[c].primary_key]
        telling = min((holders[name] for name in key), key=len) if len(key) > 1 else []
        for other in telling if len(telling) <= MAX_HOLDERS else ():
            own = [named[other].get(name, -1) for name in key]
            pair = (schema.tables[other].name, schema.tables[table].name)
            if other == table or -1 in own or pair in declared:
                continue
            targets = [columns[name] for name in key]
            free = any(names.is_identifier(c) and c not in referring for c in own)
            if free and _may_refer(schema, own, targets):
                yield _inferred(schema, own, targets)


def _may_refer(schema: Schema, own: list[int], targets: list[int]) -> bool:
    """True for columns of the same types that aren't themselves the whole key."""
    columns = schema.columns_of(schema.table_of[own[0]])
    same_key = {c for c in columns if schema.columns[c].primary_key} == {*own}
    pairs = zip(own, targets, strict=True)
    return not same_key and all(schema.columns[a].type is schema.columns[b].type for a, b in pairs)


def _shared_columns(schema: Schema, names: KeyNames) -> Iterator[ForeignKey]:
    """For tables without any key: the one telling column they share with one other table."""
    joined = {name for key in schema.foreign_keys for name in (key.table, key.ref_table)}
    joined |= {table.name for table in schema.tables if table.is_view}
    groups: dict[tuple[str, ColumnType], list[int]] = {}
    for column, record in enumerate(schema.columns):
        if record.type in KEY_TYPES and _tells(names.words[column]):
            groups.setdefault((squashed(record.name), record.type), []).append(column)
    group_of = {column: group for group in groups.values() for column in group}
    for at, table in enumerate(schema.tables):
        shared = [c for c in schema.columns_of(at) if len(group_of.get(c, ())) > 1]
        if table.name in joined or len(shared) != 1 or len(group_of[shared[0]]) != 2:
            continue
        other = next(column for column in group_of[shared[0]] if column != shared[0])
        is_view = schema.tables[schema.table_of[other]].is_view
        if not is_view and _may_share(names, shared[0], other):
            joined |= {table.name, schema.columns[other].table}
            yield _inferred(schema, shared, [other])


def _may_share(names: KeyNames, column: int, other: int) -> bool:
    """False where the values say that neither column holds those of the other."""
    shares = (names.share(column, other), names.share(other, column))
    return None in shares or max(share or 0.0 for share in shares) >= CONTAINED


def _tells(words: tuple[str, ...]) -> bool:
    """True for a name that two tables hardly share by chance."""
    if len("".join(words)) < 3 or words[-1] in _NOT_TELLING:
        return False
    return len(words) > 1 or words[-1] not in GENERIC


def _referring(schema: Schema) -> frozenset[int]:
    """Columns that are part of a key already."""
    return frozenset(
        schema.column_index(key.table, name) for key in schema.foreign_keys for name in key.columns
    )


def _by_name(schema: Schema, table: int) -> dict[str, int]:
    return {squashed(schema.columns[c].name): c for c in schema.columns_of(table)}


def _inferred(schema: Schema, columns: list[int], targets: list[int]) -> ForeignKey:
    here = [schema.columns[column] for column in columns]
    there = [schema.columns[column] for column in targets]
    return ForeignKey(
        here[0].table,
        tuple(column.name for column in here),
        there[0].table,
        tuple(column.name for column in there),
        inferred=True,
    )
