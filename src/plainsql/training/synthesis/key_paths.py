"""Which tables' rows the keys of a database stand for, and the way between two tables."""

from __future__ import annotations

from plainsql.training.synthesis.corpus import Database


def key_path(database: Database, left: int, right: int) -> tuple[int, ...]:
    """The direction of each key on the cheapest way between two tables; () if there is none."""
    tree = database.graph.join_tree([left, right])
    if not tree.connected:
        return ()
    return tuple(key_direction(database, edge.left, edge.right) for edge in tree.edges)


def key_direction(database: Database, left: int, right: int) -> int:
    """1 if `left` has a key to `right`, -1 for the other way round, 0 for neither."""
    table_of = database.schema.table_of
    for own, target in database.key_pairs:
        if (table_of[own], table_of[target]) == (left, right):
            return 1
        if (table_of[own], table_of[target]) == (right, left):
            return -1
    return 0


def owner_table(database: Database, column: int) -> int | None:
    """The table whose rows a key column stands for: the one it refers to, else its own."""
    for own, target in sorted(database.key_pairs):
        if own == column:
            return database.schema.table_of[target]
    primary = database.schema.columns[column].primary_key
    return database.schema.table_of[column] if primary else None
