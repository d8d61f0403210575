"""One row as an example: instruction, ranked schema, question, response.

    Row ─ Schemas ─▶ Known ─ checks ─▶ SQL that parses and runs ─ build_prompt ─▶ Example

Linking, the costly part, is done only where the schema does not fit the prompt:
elsewhere the ranks of its tables decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from plainsql.errors import ConnectError
from plainsql.training.data.checks import Used, execute, parse, tidy, used_names
from plainsql.training.data.formats import Row
from plainsql.training.data.narrowing import Linker, gold_first, pruned
from plainsql.training.data.rejections import Reason, Rejected
from plainsql.training.data.schemas import Known, Schemas
from plainsql.translators.language_model.estimating import EstimatingTokenizer
from plainsql.translators.language_model.model_info import PromptFormat
from plainsql.translators.language_model.prompts import (
    STYLES,
    build_prompt,
    instruction,
)
from plainsql.translators.language_model.schema_text import Block
from plainsql.translators.language_model.tokenizer_facts import facts_of

# An estimate may be too low: from this share of the budget on, ranks may matter.
_CROWDED = 0.75


@dataclass(frozen=True, slots=True)
class Shown:
    """A ranked schema, and what the prompt made of it is like."""

    blocks: tuple[Block, ...]
    prompt_tokens: int
    schema_cut: bool
    too_long: bool
    lost: bool  # a table of the gold query is not in the prompt


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its checked SQL, its schema as in use, and as in training."""

    known: Known
    question: str
    response: str
    evidence: str
    response_tokens: int
    executed: bool
    in_use: Shown
    in_training: Shown  # the tables of the SQL come first

    def row(self, blocks: Iterable[Block], dialect: str) -> dict[str, Any]:
        """A line of train.jsonl or validation.jsonl; its `schema` are `Block.row()`s."""
        return {
            "instruction": instruction(dialect),
            "schema": [block.row() for block in blocks],
            "question": self.question,
            "response": self.response,
            "db": self.known.name,
            "evidence": self.evidence,
        }


class Builder:
    """Makes examples of rows.

    `tokenizer` measures lengths; `run` says whether queries are executed, each for
    `timeout` seconds at most; `evidence` whether BIRD's is kept.
    """

    def __init__(
        self,
        form: PromptFormat,
        tokenizer: Any,
        schemas: Schemas,
        *,
        run: bool = True,
        timeout: float = 10.0,
        evidence: bool = False,
        model: str = "",
    ) -> None:
        self._form = form
        self._tokenizer = tokenizer
        self._shows_schema = STYLES[form.style].shows_schema
        self._schemas = schemas
        self._linker = Linker(schemas, form.schema_form, model)
        self._run = run
        self._timeout = timeout
        self._evidence = evidence
        self._facts = facts_of(tokenizer)
        self._estimates = isinstance(tokenizer, EstimatingTokenizer)

    def example(self, row: Row) -> Example:
        """The example that `row` is. Raises `Rejected`."""
        sql = _sql_of(row)
        known = self._schemas.of(row)
        used = used_names(parse(sql, self._form.dialect))
        if missing := sorted(used.tables - known.tables):
            raise Rejected(Reason.UNKNOWN_TABLE, ", ".join(missing))
        row = row if self._evidence else replace(row, evidence="")
        try:
            executed = self._executed(known, sql)
            in_use, in_training = self._shown(known, row, used)
        except ConnectError as error:
            raise Rejected(Reason.BAD_DATABASE, error.message) from error
        tokens = self._facts.part_length(sql) + 1  # and the end
        return Example(
            known, row.question, sql, row.evidence, tokens, executed, in_use, in_training
        )

    def _executed(self, known: Known, sql: str) -> bool:
        engine = self._schemas.engine(known) if self._run else None
        if engine is not None:
            execute(engine, sql, self._timeout)
        return engine is not None

    def _shown(self, known: Known, row: Row, used: Used) -> tuple[Shown, Shown]:
        """The schema as in use, and with the tables of the query put first."""
        budget = self._form.max_input_tokens
        if not self._shows_schema or self._size(known.blocks) <= budget:
            plain = self._look(known.blocks, known, row, used)
            if not plain.schema_cut and not (self._estimates and self._is_crowded(plain)):
                return plain, plain
        linked = self._linker.ranked(known, row.question)
        in_use = self._look(pruned(linked, budget), known, row, used)
        first = pruned(gold_first(linked, known, used), budget)
        if not in_use.lost:  # then the same tables are shown in another order of need
            return in_use, replace(in_use, blocks=first)
        return in_use, self._look(first, known, row, used)

    def _size(self, blocks: tuple[Block, ...]) -> int:
        """About the tokens of a whole schema."""
        return sum(self._facts.part_length(block.text) for block in blocks)

    def _is_crowded(self, shown: Shown) -> bool:
        return shown.prompt_tokens > _CROWDED * self._form.max_input_tokens

    def _look(self, blocks: tuple[Block, ...], known: Known, row: Row, used: Used) -> Shown:
        """What the prompt with these blocks is like."""
        prompt = build_prompt(
            self._form, row.question, blocks, self._tokenizer, known.name, row.evidence
        )
        left_out = {name.lower() for name in prompt.dropped}
        shown = {name.lower() for name in prompt.tables}
        lost = bool(used.tables & left_out) or (prompt.schema_cut and not used.tables <= shown)
        return Shown(blocks, prompt.tokens, prompt.schema_cut, prompt.too_long, lost)


def _sql_of(row: Row) -> str:
    """The tidied SQL of a row with all it needs. Raises `Rejected`."""
    if row.error:
        raise Rejected(Reason.UNREADABLE, row.error)
    if not row.question.strip():
        raise Rejected(Reason.NO_QUESTION)
    sql = tidy(row.sql)
    if not sql:
        raise Rejected(Reason.NO_SQL)
    return sql
