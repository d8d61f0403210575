"""Templates filled with the tables, columns and cells of other databases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from plainsql.linking.words import lemma
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import Literal, Query
from plainsql.records import Cell, Value
from plainsql.training.synthesis.corpus import Database, Role
from plainsql.training.synthesis.generic_words import PEOPLE
from plainsql.training.synthesis.key_paths import key_path, owner_table
from plainsql.training.synthesis.output import Pair
from plainsql.training.synthesis.rewrite import rewrite
from plainsql.training.synthesis.templates import (
    ColumnSlot,
    Draw,
    Mention,
    Template,
    ValueSlot,
)
from plainsql.training.synthesis.wording import NUMBER_WORDS, plural, singular, with_articles

_TRIES = 4  # draws of values for one choice of columns
_KEEP_EMPTY = 0.1  # of results without rows

# Which roles may stand in a slot that held the first.
_EXCHANGEABLE = {
    Role.TEXT: (Role.TEXT, Role.CATEGORY),
    Role.CATEGORY: (Role.CATEGORY, Role.TEXT),
    Role.LONG: (Role.LONG, Role.TEXT),
}


@dataclass(frozen=True, slots=True)
class Binding:
    """The tables and columns that take the slots of a template."""

    tables: tuple[int, ...]
    columns: tuple[int, ...]


class NoFit(ValueError):
    """The database has nothing that fits the slots."""


def fill(template: Template, database: Database, rng: random.Random) -> Pair:
    """One question and query over the database. Raises `NoFit`."""
    binding = next(bindings(template, database, rng), None)
    if binding is None:
        raise NoFit("no tables and columns")
    for _ in range(_TRIES):
        values = tuple(_drawn(slot, binding, database, rng) for slot in template.value_slots)
        if _repeated(template, values):
            continue
        query = _bound(template, binding, values)
        sql = to_sql(query, database.schema, database.graph)
        rows = database.run(sql)
        if rows is not None and (not is_empty(rows) or rng.random() < _KEEP_EMPTY / _TRIES):
            question = _worded(template, binding, values, database, rng)
            return Pair(str(database.path), database.db_id, question, sql, "template")
    raise NoFit("only empty results")


def _repeated(template: Template, values: tuple[Value, ...]) -> bool:
    """Whether one column is compared with the same value twice, but for case."""
    drawn = [
        (slot.column, str(value).lower())
        for slot, value in zip(template.value_slots, values, strict=True)
        if slot.column >= 0
    ]
    return len(set(drawn)) < len(drawn)


def is_empty(rows: list[tuple[Cell, ...]]) -> bool:
    """Whether a result says nothing: no row, or NULLs and zeros alone."""
    return all(cell in (None, 0) for row in rows for cell in row)


# -- tables and columns ---------------------------------------------------


def bindings(template: Template, database: Database, rng: random.Random) -> Iterator[Binding]:
    """Choices of tables and columns that keep the template's constraints, in random order."""
    for tables in _tables(template, database, rng, ()):
        columns = _columns(template, database, rng, tables, ())
        if columns is not None:
            yield Binding(tables, columns)


def _tables(
    template: Template, database: Database, rng: random.Random, chosen: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    if len(chosen) == len(template.table_slots):
        yield chosen
        return
    rest = [t for t in range(len(database.schema.tables)) if t not in chosen]
    rng.shuffle(rest)
    for table in rest[:40]:
        if _table_fits(template, database, (*chosen, table)):
            yield from _tables(template, database, rng, (*chosen, table))


def _table_fits(template: Template, database: Database, chosen: tuple[int, ...]) -> bool:
    slot, table = len(chosen) - 1, chosen[-1]
    if not database.rows_of[table] or database.schema.tables[table].is_view:
        return False
    if template.table_slots[slot].person and not is_person(database, table):
        return False
    for need in template.joins:
        if max(need.left, need.right) != slot:
            continue
        left, right = chosen[need.left], chosen[need.right]
        if len(need.path) == 1 and len(database.graph.edges_between(left, right)) != 1:
            return False
        if key_path(database, left, right) != need.path:
            return False
    return True


def is_person(database: Database, table: int) -> bool:
    """Whether the rows of the table are people."""
    words = database.schema.tables[table].natural.split()
    return bool(words) and lemma(words[-1]) in PEOPLE


def _columns(
    template: Template,
    database: Database,
    rng: random.Random,
    tables: tuple[int, ...],
    chosen: tuple[int, ...],
) -> tuple[int, ...] | None:
    """The first choice found for the slots after `chosen`."""
    slot = len(chosen)
    if slot == len(template.column_slots):
        return chosen
    wanted = template.column_slots[slot]
    candidates = [c for c in database.schema.columns_of(tables[wanted.table]) if c not in chosen]
    rng.shuffle(candidates)
    candidates.sort(key=lambda c: database.facts[c].role is not wanted.role and rng.random() < 0.5)
    for column in candidates:
        if not _column_fits(template, database, tables, (*chosen, column)):
            continue
        found = _columns(template, database, rng, tables, (*chosen, column))
        if found is not None:
            return found
    return None


def _column_fits(
    template: Template, database: Database, tables: tuple[int, ...], chosen: tuple[int, ...]
) -> bool:
    slot, column = len(chosen) - 1, chosen[-1]
    wanted, facts = template.column_slots[slot], database.facts[column]
    if facts.role not in _EXCHANGEABLE.get(wanted.role, (wanted.role,)) or not facts.values:
        return False
    table = tables[wanted.table]
    if wanted.mentioned and template.table_slots[wanted.table].mentioned:
        own = singular(database.schema.tables[table].natural)
        if singular(database.natural(column)) == own:  # "the film of the film"
            return False
    unique = len(facts.values) == facts.rows > 3
    if wanted.grouped and unique and wanted.role not in (Role.NAME, Role.KEY):
        return False
    if not wanted.mentioned and not _silently_fits(wanted, database, tables, column):
        return False
    if any(v.column == slot and not _can_draw(v, database, column) for v in template.value_slots):
        return False
    if wanted.owner >= 0 and owner_table(database, column) != tables[wanted.owner]:
        return False
    if not template.table_slots[wanted.table].mentioned and not _telling(database, column):
        return False
    return all(
        (chosen[own], chosen[target]) in database.key_pairs
        or (chosen[target], chosen[own]) in database.key_pairs
        or (chosen[own] == chosen[target])
        for own, target in template.keys
        if max(own, target) == slot
    )


def _silently_fits(
    wanted: ColumnSlot, database: Database, tables: tuple[int, ...], column: int
) -> bool:
    """A label that the question doesn't name, or a key that only groups or links."""
    table = tables[wanted.table]
    return wanted.role is Role.KEY or database.labels[table] == column


def _telling(database: Database, column: int) -> bool:
    """Whether the column's name alone says which is meant."""
    name = database.natural(column)
    return sum(c.natural == name for c in database.schema.columns) == 1


def _can_draw(slot: ValueSlot, database: Database, column: int) -> bool:
    values = database.facts[column].values
    if slot.draw is Draw.CELL:
        return any(usable(value) for value in values)
    if slot.draw is Draw.NUMBER:
        return len(values) > 2 and not any(isinstance(v, str) for v in values)
    return any(isinstance(v, str) for v in values)


def usable(value: Value) -> bool:
    """Whether a person could type the value in a question."""
    text = str(value)
    return 0 < len(text.strip()) <= 40 and text.isprintable() and not set("\"'`%") & set(text)


# -- values ---------------------------------------------------------------


def _drawn(slot: ValueSlot, binding: Binding, database: Database, rng: random.Random) -> Value:
    if slot.draw is Draw.FIXED:
        return 1
    if slot.draw is Draw.COUNT:
        return rng.choice((1, 2, 2, 3, 3, 4, 5, 10)) if not slot.in_words else rng.randint(2, 5)
    values = database.facts[binding.columns[slot.column]].values
    if slot.draw is Draw.NUMBER:
        return number_in_range(values, rng)
    cell = rng.choice([value for value in values if usable(value)] or list(values[:1]))
    if slot.draw is Draw.CELL:
        return cell.strip() if isinstance(cell, str) else cell
    return part_of(str(cell), slot.draw, rng)


def number_in_range(values: tuple[Value, ...], rng: random.Random) -> Value:
    """A number between the tenth and the ninetieth hundredth of the values, often a round one."""
    numbers = sorted(v for v in values if not isinstance(v, str))
    low, high = int(0.1 * (len(numbers) - 1)), int(0.9 * (len(numbers) - 1))
    value = numbers[rng.randint(low, high)]
    if rng.random() < 0.4 or abs(value) < 20:
        return value
    size = 10 ** max(0, len(str(int(abs(value)))) - (1 if rng.random() < 0.5 else 2))
    rounded = int(round(value / size) * size)
    if 1000 < value < 2200 and isinstance(value, int):
        return value  # most likely a year
    return rounded if numbers[0] < rounded < numbers[-1] else value


def part_of(cell: str, draw: Draw, rng: random.Random) -> str:
    """A word or some letters of the cell for LIKE."""
    words = [w for w in cell.split() if w.isalpha()] or [cell.strip()[:3]]
    if draw is Draw.STARTS:
        return rng.choice((words[0][:1], words[0][:2], words[0]))
    if draw is Draw.ENDS:
        return rng.choice((words[-1][-1:], words[-1][-2:]))
    word = rng.choice(words)
    return word if rng.random() < 0.6 or len(word) < 4 else word[: rng.randint(3, len(word))]


# -- query and question ---------------------------------------------------


def _bound(template: Template, binding: Binding, values: tuple[Value, ...]) -> Query:
    columns = dict(zip(template.columns, binding.columns, strict=True))
    tables = dict(zip(template.tables, binding.tables, strict=True))
    left = iter(values)
    return rewrite(
        template.query,
        columns.__getitem__,
        tables.__getitem__,
        lambda literal, owner: Literal(next(left)),
    )


def _worded(
    template: Template,
    binding: Binding,
    values: tuple[Value, ...],
    database: Database,
    rng: random.Random,
) -> str:
    texts = []
    named = [binding.tables[i] for i, t in enumerate(template.table_slots) if t.mentioned]
    for piece in template.pieces:
        if isinstance(piece, str):
            texts.append(piece)
        elif piece.kind == "v":
            texts.append(_value_text(template.value_slots[piece.slot], values[piece.slot], rng))
        else:
            texts.append(_name_text(piece, binding, named, database))
    question = with_articles("".join(texts))
    return question[:1].upper() + question[1:] if template.text[:1] == "{" else question


def _value_text(slot: ValueSlot, value: Value, rng: random.Random) -> str:
    if slot.draw is Draw.COUNT and slot.in_words and value in range(11):
        return NUMBER_WORDS[int(value)]
    text = str(value)
    return text.lower() if slot.draw is Draw.CELL and rng.random() < 0.05 else text


def _name_text(mention: Mention, binding: Binding, named: list[int], database: Database) -> str:
    if mention.kind == "t":
        name = database.schema.tables[binding.tables[mention.slot]].natural
    else:
        name = short_name(database, binding.columns[mention.slot], named)
    return plural(name) if mention.plural else singular(name)


def short_name(database: Database, column: int, named: list[int]) -> str:
    """The column's name without its table's before it, where the table is named anyway."""
    natural = database.natural(column)
    table = database.schema.table_of[column]
    owner = singular(database.schema.tables[table].natural) + " "
    short = natural[len(owner) :] if natural.startswith(owner) and table in named else natural
    others = [database.natural(c) for t in named for c in database.schema.columns_of(t)]
    return natural if short != natural and others.count(short) else short
