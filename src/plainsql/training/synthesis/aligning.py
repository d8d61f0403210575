"""Templates abstracted from question-query pairs: what is named in both becomes a slot.

The idea is that of grammar-based data synthesis from aligned pairs, as in
Yu et al., "GraPPa" (2021, https://arxiv.org/abs/2009.13845) and Wang et al.,
"Learning to Synthesize Data for Semantic Parsing" (2021,
https://arxiv.org/abs/2104.05827). note: we demand that every word of the
question is either a slot or generic (see `generic_words`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from plainsql.linking.words import lemma, tokenize_question
from plainsql.logical_form.from_sql import from_sql
from plainsql.logical_form.joins import plan_joins, used_sources
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import (
    Aggregate,
    Between,
    ColumnRef,
    Comparison,
    In,
    Like,
    Literal,
    Query,
    Select,
    SetOperation,
    Star,
    walk,
)
from plainsql.records import Question
from plainsql.training.synthesis.agreement import agree
from plainsql.training.synthesis.corpus import Database, Role
from plainsql.training.synthesis.generic_words import GENERIC, PEOPLE, PERSONAL, TIME_WORDS
from plainsql.training.synthesis.key_paths import key_path, owner_table
from plainsql.training.synthesis.rewrite import literals_of
from plainsql.training.synthesis.templates import (
    ColumnSlot,
    Draw,
    JoinNeed,
    Mention,
    TableSlot,
    Template,
    ValueSlot,
)
from plainsql.training.synthesis.wording import NUMBER_WORDS


class NotAligned(ValueError):
    """A part of the query that no words of the question name, or the other way round."""


def abstract(question: str, sql: str, database: Database) -> Template:
    """The template of a pair. Raises `NotAligned` or `NotCovered`."""
    query = from_sql(sql, database.schema, database.graph)
    return _Aligner(question, query, database).template()


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    mention: Mention


class _Aligner:
    def __init__(self, question: str, query: Query, database: Database) -> None:
        self.question: Question = tokenize_question(question)
        self.query = query
        self.sql = to_sql(query, database.schema, database.graph)
        self.database = database
        self.schema = database.schema
        self.lemmas = [word.lemma for word in self.question.words]
        nodes = list(walk(query))
        columns = [node.column for node in nodes if isinstance(node, ColumnRef)]
        self.columns = tuple(dict.fromkeys(columns))
        self.tables = tuple(dict.fromkeys(self._tables(nodes)))
        self.spans: list[_Span] = []

    def _tables(self, nodes: list[Any]) -> Iterator[int]:
        for node in nodes:
            if isinstance(node, ColumnRef):
                yield self.schema.table_of[node.column]
            if isinstance(node, Star):
                yield node.table
            if isinstance(node, Select):
                if node.join_hints or node.limit_per:
                    raise NotAligned("a join that only hints say")
                yield from node.extra_tables

    def template(self) -> Template:
        values = self._values()
        for slot in sorted(range(len(self.columns)), key=self._length):
            self._mark("c", slot, self._forms(self.columns[slot]))
        for slot, table in enumerate(self.tables):
            self._mark("t", slot, self._table_forms(table))
        named = {(s.mention.kind, s.mention.slot) for s in self.spans}
        columns = tuple(self._column_slot(i, ("c", i) in named) for i in range(len(self.columns)))
        tables = tuple(self._table_slot(i, ("t", i) in named) for i in range(len(self.tables)))
        self._check(columns, tables)
        return Template(
            tuple(self._pieces()),
            self.query,
            self.columns,
            self.tables,
            columns,
            tables,
            values,
            tuple(self._joins()),
            tuple(self._keys()),
        )

    # -- names -------------------------------------------------------------

    def _length(self, slot: int) -> int:
        return -len(self.database.natural(self.columns[slot]))

    def _forms(self, column: int) -> list[tuple[str, ...]]:
        """Its name, then every ending of it that no other column of the table has."""
        name = _lemmas(self.database.natural(column))
        others = [
            _lemmas(self.database.natural(other))
            for other in self.schema.columns_of(self.schema.table_of[column])
            if other != column
        ]
        return _endings(name, others)

    def _table_forms(self, table: int) -> list[tuple[str, ...]]:
        names = [_lemmas(record.natural) for record in self.schema.tables]
        return _endings(names[table], names[:table] + names[table + 1 :])

    def _mark(self, kind: str, slot: int, forms: list[tuple[str, ...]]) -> None:
        """Every free place in the question that one of the forms matches."""
        for form in forms:
            for start in range(len(self.lemmas) - len(form) + 1):
                end = start + len(form)
                if tuple(self.lemmas[start:end]) == form and self._free(start, end):
                    last = self.question.words[end - 1]
                    plural = last.text.lower() != last.lemma
                    self.spans.append(_Span(start, end, Mention(kind, slot, plural)))

    def _free(self, start: int, end: int) -> bool:
        return start < end and all(end <= s.start or s.end <= start for s in self.spans)

    # -- values ------------------------------------------------------------

    def _values(self) -> tuple[ValueSlot, ...]:
        slots = []
        for number, (literal, owner) in enumerate(literals_of(self.query)):
            slots.append(self._value_slot(number, literal, owner))
        return tuple(slots)

    def _value_slot(self, number: int, literal: Literal, owner: Any) -> ValueSlot:
        draw, column = self._draw(literal, owner)
        place = self._place(str(literal.value))
        if place is None:
            if isinstance(owner, Select) and literal.value == 1:
                return ValueSlot(Draw.FIXED)
            raise NotAligned(f"value {literal.value}")
        self.spans.append(_Span(*place, Mention("v", number)))
        in_words = self.question.words[place[0]].text.lower() in NUMBER_WORDS
        return ValueSlot(draw, column, in_words)

    def _draw(self, literal: Literal, owner: Any) -> tuple[Draw, int]:
        if isinstance(owner, Select):
            return Draw.COUNT, -1
        left = owner.left
        if isinstance(left, Aggregate) and left.function == "COUNT":
            return Draw.COUNT, -1
        if isinstance(left, Aggregate) and left.function in ("AVG", "MIN", "MAX"):
            left = left.argument
        if not isinstance(left, ColumnRef):
            raise NotAligned("a value compared with something else")
        slot = self.columns.index(left.column)
        if isinstance(owner, Like):
            if owner.mode == "LIKE" and "%" in str(literal.value):
                raise NotAligned("an uncommon pattern")
            kinds = {"CONTAINS": Draw.CONTAINS, "STARTS": Draw.STARTS, "ENDS": Draw.ENDS}
            return kinds.get(owner.mode, Draw.CELL), slot
        numeric = not isinstance(literal.value, str)
        exact = isinstance(owner, Comparison) and owner.operator in ("EQ", "NE")
        return (Draw.NUMBER if numeric and not exact else Draw.CELL), slot

    def _place(self, text: str) -> tuple[int, int] | None:
        """The words of the question that are the value: as written, or a number word."""
        wanted = [w.text.lower() for w in tokenize_question(text.strip()).words]
        words = [word.text.lower().replace(",", "") for word in self.question.words]
        wanted = [w.replace(",", "") if len(w) > 1 else w for w in wanted]
        spelled = NUMBER_WORDS[int(text)] if text.isdigit() and int(text) < 11 else None
        for start in range(len(words) - len(wanted) + 1):
            end = start + len(wanted)
            same = words[start:end] == wanted or words[start:end] == [spelled]
            if wanted and same and self._free(start, end):
                return start, end
        return None

    # -- slots -------------------------------------------------------------

    def _column_slot(self, slot: int, mentioned: bool) -> ColumnSlot:
        column = self.columns[slot]
        table = self.tables.index(self.schema.table_of[column])
        owner = self._owner(column)
        return ColumnSlot(table, self._role(column), mentioned, self._grouped(column), owner)

    def _role(self, column: int) -> Role:
        """Its role; a measure, whatever its values, where the query adds it up."""
        measured = any(
            isinstance(node, Aggregate)
            and node.function in ("SUM", "AVG")
            and node.argument == ColumnRef(column)
            for node in walk(self.query)
        )
        return Role.NUMBER if measured else self.database.facts[column].role

    def _owner(self, column: int) -> int:
        table = owner_table(self.database, column)
        return self.tables.index(table) if table in self.tables else -1

    def _grouped(self, column: int) -> bool:
        return any(
            isinstance(node, Select) and ColumnRef(column) in node.group_by
            for node in walk(self.query)
        )

    def _table_slot(self, slot: int, mentioned: bool) -> TableSlot:
        words = _lemmas(self.schema.tables[self.tables[slot]].natural)
        person = bool(PERSONAL & set(self.lemmas)) and bool(words) and words[-1] in PEOPLE
        return TableSlot(mentioned, person)

    def _check(self, columns: tuple[ColumnSlot, ...], tables: tuple[TableSlot, ...]) -> None:
        for slot, column in enumerate(columns):
            if not column.mentioned and not self._may_be_silent(slot, column, tables):
                raise NotAligned(f"column {self.database.natural(self.columns[slot])}")
        for slot, table in enumerate(tables):
            own = [c for c in columns if c.table == slot]
            if not table.mentioned and (len(tables) > 1 or not all(c.mentioned for c in own)):
                raise NotAligned(f"table {self.schema.tables[self.tables[slot]].name}")
        if not agree(self.question.text, self.sql):
            raise NotAligned("words and clauses that don't agree")
        covered = {i for span in self.spans for i in range(span.start, span.end)}
        rest = {w.lower() for i, w in self._rest(covered)}
        if strange := rest - GENERIC - TIME_WORDS:
            raise NotAligned(f"words {' '.join(sorted(strange))}")
        if rest & PERSONAL and not any(t.person for t in tables):
            raise NotAligned("who")
        timed = any(c.role in (Role.DATE, Role.YEAR) for c in columns)
        if rest & (TIME_WORDS - GENERIC) and not timed:
            raise NotAligned("a word of time")

    def _rest(self, covered: set[int]) -> Iterator[tuple[int, str]]:
        for i, word in enumerate(self.question.words):
            if i not in covered:
                yield i, word.text

    def _may_be_silent(self, slot: int, column: ColumnSlot, tables: tuple[TableSlot, ...]) -> bool:
        """Keys that only group or link, and the label of a table that is asked for."""
        index = self.columns[slot]
        items = [n for n in _outer(self.query).items if n == ColumnRef(index)]
        if column.role is Role.KEY:
            return not items and not self._counted(index) and column.owner >= 0
        label = self.database.labels[self.tables[column.table]]
        return bool(items) and label == index and tables[column.table].mentioned

    def _counted(self, column: int) -> bool:
        plain = (Comparison, Between, Like)
        return any(isinstance(n, plain) and n.left == ColumnRef(column) for n in walk(self.query))

    # -- constraints -------------------------------------------------------

    def _joins(self) -> Iterator[JoinNeed]:
        for block in walk(self.query):
            if not isinstance(block, Select):
                continue
            joins = plan_joins(block, self.schema, self.database.graph)
            if not joins.connected:
                raise NotAligned("a cross join")
            here = [s.table for s in joins.sources if s.table in self.tables]
            for i, left in enumerate(here):
                for right in here[i + 1 :]:
                    yield self._join_need(left, right)

    def _join_need(self, left: int, right: int) -> JoinNeed:
        slots = self.tables.index(left), self.tables.index(right)
        return JoinNeed(*slots, key_path(self.database, left, right))

    def _keys(self) -> Iterator[tuple[int, int]]:
        """Pairs of columns that an IN or a set operation links: they must be ends of one key."""
        for node in walk(self.query):
            if isinstance(node, In) and isinstance(node.left, ColumnRef):
                inner = _outer(node.query).items[0]
                if not isinstance(inner, ColumnRef) or self._circular(node):
                    raise NotAligned("membership of something else")
                yield self.columns.index(node.left.column), self.columns.index(inner.column)
            if isinstance(node, SetOperation):
                for a, b in zip(_outer(node.left).items, _outer(node.right).items, strict=True):
                    if isinstance(a, ColumnRef) and isinstance(b, ColumnRef) and a != b:
                        yield self.columns.index(a.column), self.columns.index(b.column)

    def _circular(self, node: In) -> bool:
        """Whether the sub-query joins back to the table it is asked for."""
        assert isinstance(node.left, ColumnRef)
        own = self.schema.table_of[node.left.column]
        blocks = [b for b in walk(node.query) if isinstance(b, Select)]
        used = [{t for t, _ in used_sources(b, self.schema)} for b in blocks]
        return any(own in tables and len(tables) > 1 for tables in used)

    # -- text --------------------------------------------------------------

    def _pieces(self) -> Iterator[str | Mention]:
        text, at = self.question.text, 0
        for span in sorted(self.spans, key=lambda span: span.start):
            start, end = self.question.words[span.start], self.question.words[span.end - 1]
            if start.start > at:
                yield text[at : start.start]
            yield span.mention
            at = end.end
        if at < len(text):
            yield text[at:]


def _outer(query: Query) -> Select:
    return query if isinstance(query, Select) else query.left


def _endings(name: tuple[str, ...], others: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The name and its proper endings, longest first, as long as they tell it from others."""
    endings = [name[at:] for at in range(len(name))]
    return [e for e in endings if e == name or all(o[-len(e) :] != e for o in others)]


def _lemmas(name: str) -> tuple[str, ...]:
    return tuple(lemma(word) for word in re.findall(r"\w+", name.lower()))
