"""Which tables of a schema that does not fit are shown: ranks by linking, and by the answer.

Linking ranks as it does in use. In training the tables and columns of the gold
query rank before all others: a model that is asked for what it can't see learns
to make names up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from plainsql.linking.embedding import WordVectors
from plainsql.linking.link import link
from plainsql.schema.model import Table
from plainsql.training.data.checks import Used
from plainsql.training.data.schemas import Known, Schemas
from plainsql.translators.language_model.schema_text import Block, schema_blocks
from plainsql.translators.parser.weights import weights_folder, word_table

# Characters kept of a schema for each token of the budget. A token has about four:
# what is left out no tokenizer could make fit.
_KEPT_CHARS = 16


class Linker:
    """Ranks the tables of schemas by a question, as answering it would.

    Word vectors are those of the shipped parser, as in `ask`; `model` names the
    folder of another one.
    """

    def __init__(self, schemas: Schemas, form: str, model: str = "") -> None:
        self._schemas = schemas
        self._form = form
        self._model = model

    def ranked(self, known: Known, question: str) -> tuple[Block, ...]:
        """The blocks of the schema, ranked. Raises ConnectError, ModelError."""
        links = link(question, known.schema, self._schemas.index(known), self._vectors)
        return schema_blocks(known.schema, links, self._form)

    @cached_property
    def _vectors(self) -> WordVectors | None:
        files = word_table(weights_folder(self._model))
        return WordVectors.open(*files) if files else None


def gold_first(blocks: Sequence[Block], known: Known, used: Used) -> tuple[Block, ...]:
    """The same blocks with the tables that the query uses ranked first, and their columns."""
    gold = [table.name.lower() in used.tables for table in known.schema.tables]
    order = sorted(range(len(blocks)), key=lambda at: (not gold[at], blocks[at].rank))
    rank = {at: number for number, at in enumerate(order)}
    return tuple(
        replace(
            block,
            rank=rank[at],
            order=_columns_first(block, table, used) if gold[at] else block.order,
        )
        for at, (block, table) in enumerate(zip(blocks, known.schema.tables, strict=True))
    )


def _columns_first(block: Block, table: Table, used: Used) -> tuple[int, ...]:
    order = block.order or tuple(range(len(table.columns)))
    return tuple(sorted(order, key=lambda at: table.columns[at].name.lower() not in used.columns))


def pruned(blocks: Sequence[Block], budget: int) -> tuple[Block, ...]:
    """The blocks without those that no prompt of `budget` tokens could reach.

    Tables are left out of a prompt from the highest rank down, so that what is far
    behind is never shown. The first one left out stays: the schema must not look whole.
    """
    kept: set[int] = set()
    length = 0
    for block in sorted(blocks, key=lambda block: block.rank):
        kept.add(block.rank)
        length += len(block.text)
        if length > _KEPT_CHARS * budget:
            break
    return tuple(block for block in blocks if block.rank in kept)
