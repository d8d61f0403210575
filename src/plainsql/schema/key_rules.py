"""The rules by which a column is taken to refer to a key of another table.

Each rule takes the schema's names and a column index and gives a target or
None; `RULES` orders them, and the first target wins. See `keys` for the whole.
"""

from __future__ import annotations

from collections.abc import Callable

from plainsql.schema.key_names import CONTAINED, GENERIC, KeyNames, Target, owns
from plainsql.schema.model import Column, ColumnType

_LARGE = 1000
_ABOVE = frozenset(("parent", "manager", "supervisor", "boss", "mentor"))


def namesake(names: KeyNames, column: int) -> Target | None:
    """A key of the same name in the table that the name is about."""
    if names.is_target(column) and owns(names.target_at(column)):
        return None
    targets = (target for target in names.same_names(column) if owns(target))
    return names.pick(column, sorted(targets, key=lambda target: len(target.noun)))


def table_and_key(names: KeyNames, column: int) -> Target | None:
    """`customer_id`, `customerid`, `id_customer` for `customers.id`."""
    if not names.is_identifier(column):
        return None
    return names.pick(column, names.by_noun_key.get("".join(names.words[column]), ()))


def same_name(names: KeyNames, column: int) -> Target | None:
    """An identifier of the same name in another table."""
    if names.is_target(column):
        return None
    targets = names.same_names(column)
    return names.pick(column, (t for t in targets if names.is_identifier(t.column)))


def with_role(names: KeyNames, column: int) -> Target | None:
    """The name of table and key after other words; the longest such name wins."""
    words = names.words[column]
    if names.is_key(column) or (len(words) > 1 and not names.is_identifier(column)):
        return None
    endings = ["".join(words[start:]) for start in range(1, len(words))]
    if len(words) == 1:  # run together: "citedpaperid"
        endings = [words[0][start:] for start in range(1, len(words[0]) - 4)]
    for ending in endings:
        named = [] if ending in GENERIC else names.by_name.get(ending, [])
        alone = named if len(named) == 1 else []
        target = names.pick(column, [*names.by_noun_key.get(ending, ()), *alone])
        if target is not None:
            return target
    return None


def last_word(names: KeyNames, column: int) -> Target | None:
    """`user_id` for `auth_users.id`, if only one table's name ends in "user"."""
    targets = names.by_last_noun.get("".join(names.words[column]), ())
    if len(targets) != 1 or not names.is_identifier(column) or names.is_key(column):
        return None
    return names.pick(column, targets)


def table_alone(names: KeyNames, column: int) -> Target | None:
    """`winning_pilot` for `pilot.pilot_id`: numbers don't name pilots, they refer to them."""
    number = names.schema.columns[column].type is ColumnType.NUMBER
    if not number or names.words[column][-1] in GENERIC:
        return None
    targets = names.named_at_end(column)
    return names.pick(column, (t for t in targets if names.schema.columns[t.column].primary_key))


def by_values(names: KeyNames, column: int) -> Target | None:
    """A column that ends in a table's name and holds almost only that table's keys."""
    targets = names.named_at_end(column)
    return next((target for target in targets if names.contained(column, target)), None)


def same_values(names: KeyNames, column: int) -> Target | None:
    """A key of the same name, not an identifier by name, that holds the values."""
    if names.is_target(column):
        return None
    targets = names.same_names(column)
    return next((target for target in targets if names.contained(column, target)), None)


def own_table(names: KeyNames, column: int) -> Target | None:
    """`parent_id`, `manager_id`: another row of the same table, if no table is called so."""
    words = names.words[column]
    role = words[-2:-1]
    if len(words) < 2 or words[-1] != "id" or not _ABOVE & {*role}:
        return None
    if names.by_noun.get(role[0]):
        return None
    table = names.schema.table_of[column]
    for target in names.targets_of(table):
        same_type = names.schema.columns[column].type is names.schema.columns[target.column].type
        share = names.share(column, target.column)
        if target.column != column and same_type and (share is None or share >= CONTAINED):
            return target
    return None


def sparse_values(names: KeyNames, column: int) -> Target | None:
    """`student.advisor` for `faculty.facid`: the values alone, where they can't be chance.

    Small numbers are contained in every key that counts from one, so both sides
    must show large ones; all values must be there, in one table's key only.
    """
    record = names.schema.columns[column]
    if record.primary_key or names.is_measure(column) or not _is_sparse(record):
        return None
    found = [
        target
        for target in names.targets()
        if _is_sparse(names.schema.columns[target.column])
        and names.schema.columns[target.column].type is record.type
        and target.table != names.schema.table_of[column]
        and names.share(column, target.column) == 1.0
    ]
    return found[0] if len(found) == 1 else None


def _is_sparse(column: Column) -> bool:
    """Whether the samples are several whole numbers of three digits or more."""
    samples = column.samples
    return len(samples) > 1 and all(s.isdigit() and int(s) >= _LARGE for s in samples)


RULES: tuple[Callable[[KeyNames, int], Target | None], ...] = (
    namesake,
    table_and_key,
    same_name,
    with_role,
    last_word,
    table_alone,
    by_values,
    same_values,
    own_table,
    sparse_values,
)
