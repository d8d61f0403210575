"""A grammar of read-only SELECT over one schema: its tables and columns and no others.

    schema, tables ─ scopes ─▶ Grammar ─ .gbnf ─▶ llama.cpp
                                       ─ .lark(frames) ─▶ llguidance, see `masks`

Within a scope every name is bound: its columns are those of its tables, qualified
by the names they have there, or bare where only one of them has it; joins are
along keys. Values are free, but bounded in length.

A model writes the columns before it says where they come from. A grammar of all
scopes side by side would follow each of them up to FROM: with 300 of them the mask
of one token takes llguidance a second and more (its cost grows with the square of
what is open). So the grammar for llguidance is one of the scopes still possible,
joined into one, and it is made again whenever a name is finished (see `reading`).
GBNF can't change on the way; there the number of scopes is small instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from plainsql.schema.model import Schema
from plainsql.translators.language_model.constrained.queries import add_queries
from plainsql.translators.language_model.constrained.rules import Rules
from plainsql.translators.language_model.constrained.scopes import Naming, Scope, Source, scopes_of
from plainsql.translators.language_model.constrained.sources import Sources
from plainsql.translators.language_model.constrained.spelling import Spelling
from plainsql.translators.language_model.constrained.terminals import (
    Folded,
    Terminal,
    either,
    row,
)
from plainsql.translators.language_model.constrained.words import GAP, words_of

MOST_SCOPES = 1200  # followed one after the other: they cost next to nothing
# llama.cpp looks at every alternative that is open for every token of the vocabulary.
SIDE_BY_SIDE = 40
NESTED_SIDE_BY_SIDE = 20
MOST_FRAMES = 128  # kept
DEPTH = 3  # queries in one another
_HERE = "here"  # in place of the number of a frame
_TITLES = (
    "count cnt num number total sum avg average min max minimum maximum share ratio percentage"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known of one query: the scopes still possible, and its FROM so far."""

    scopes: int  # a bit for each of `Grammar.scopes`
    before: tuple[Source, ...] = ()


def numbers_in(bits: int) -> list[int]:
    """The numbers of the bits that are set."""
    return [at for at, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]


@dataclass(frozen=True)
class Grammar:
    """What may be written about some tables of a schema."""

    schema: Schema = field(repr=False)  # of these tables alone, best first
    dialect: str

    @cached_property
    def naming(self) -> Naming:
        """The names of the schema as the dialect writes them."""
        return Naming(self.schema, Spelling(self.dialect))

    @cached_property
    def scopes(self) -> tuple[Scope, ...]:
        """Every scope, best first; none where not one table can be named."""
        return scopes_of(self.naming, MOST_SCOPES)

    def lark(self, frames: Sequence[Frame]) -> str:
        """For llguidance: a frame for each depth of queries."""
        out = self._words()
        for number, frame in enumerate(frames):
            found = self._of_frame(frame)
            out.terminals.update(found.terminals)
            for name, body in found.plain.items():
                out.plain[name.replace(_HERE, str(number))] = body
        add_queries(out, [[number] for number in range(len(frames))], self.dialect)
        return out.lark(self._regexes)

    def _of_frame(self, frame: Frame) -> Rules:
        """What depends on tables, without the number of the frame."""
        if frame not in self._frames:
            out = Rules({})
            sources = Sources(self.naming, out)
            scopes = [self.scopes[at] for at in numbers_in(frame.scopes)]
            sources.columns(_HERE, scopes)
            sources.open(_HERE, scopes, frame.before)
            self._frames[frame] = out
            if len(self._frames) > MOST_FRAMES:
                del self._frames[next(iter(self._frames))]
        return self._frames[frame]

    @cached_property
    def _frames(self) -> dict[Frame, Rules]:
        return {}

    @cached_property
    def _regexes(self) -> dict[str, str]:
        return {}

    @cached_property
    def gbnf(self) -> str:
        """For llama.cpp; "" where there are no scopes. Joins of few tables, the best ones."""
        scopes = scopes_of(self.naming, SIDE_BY_SIDE)
        if not scopes:
            return ""
        out = self._words()
        for number, scope in enumerate(scopes):
            sources = Sources(self.naming, out)
            sources.columns(str(number), [scope])
            sources.closed(str(number), scope)
        nested = range(min(len(scopes), NESTED_SIDE_BY_SIDE))
        add_queries(out, [range(len(scopes)), nested], self.dialect)
        return out.gbnf()

    def _words(self) -> Rules:
        return Rules(self._common)

    @cached_property
    def _common(self) -> dict[str, Terminal]:
        return {**words_of(self.dialect), "TITLE": self._title()}

    def _title(self) -> Terminal:
        """`AS total`: never a word that the dialect reserves, nor a column's name."""
        taken = {column.name.lower() for column in self.schema.columns}
        free = [
            word
            for word in _TITLES.split()
            if word not in taken and self.naming.spelling.is_free(word)
        ]
        return row(GAP, Folded("as"), GAP, either(*map(Folded, free or ["result_"])))


def grammar_of(schema: Schema, tables: Sequence[int] = (), *, dialect: str = "") -> Grammar:
    """The grammar of queries over `tables`, indexes into `schema.tables`, best first.

    Without any, over all. Cheap: its parts are made when they are needed. `dialect` is
    sqlglot's name, by default the schema's.
    """
    dialect = dialect or schema.dialect
    if not tables:
        return Grammar(schema, dialect)
    kept = tuple(schema.tables[table] for table in dict.fromkeys(tables))
    names = {table.name.lower() for table in kept}
    keys = tuple(
        key
        for key in schema.foreign_keys
        if key.table.lower() in names and key.ref_table.lower() in names
    )
    return Grammar(replace(schema, tables=kept, foreign_keys=keys), dialect)
