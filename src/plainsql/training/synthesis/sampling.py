"""How often which template is filled: balanced, bounded, without repeats."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from plainsql.logical_form.from_sql import NotCovered
from plainsql.logical_form.tree import Scalar, SetOperation, walk
from plainsql.training.synthesis.aligning import NotAligned, abstract
from plainsql.training.synthesis.corpus import Database
from plainsql.training.synthesis.instantiate import NoFit, fill
from plainsql.training.synthesis.output import Pair, question_key
from plainsql.training.synthesis.templates import (
    Template,
)

_MAX_FAILURES = 6  # of one template in one database before it is given up there


def learn_templates(
    pairs: Iterable[tuple[str, str, str]], databases: dict[str, Database]
) -> list[Template]:
    """The distinct templates of (db_id, question, query) triples, with their counts."""
    found: dict[tuple[str, str], Template] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for db_id, question, sql in pairs:
        try:
            template = abstract(question, sql, databases[db_id])
        except (NotAligned, NotCovered):
            continue
        key = template.text, shape(template)
        counts[key] += 1
        found.setdefault(key, template)
    return [replace(template, count=counts[key]) for key, template in found.items()]


def shape(template: Template) -> str:
    """The kind of query: its tree with slots for columns and tables, without constants."""
    text = repr(template.query)
    for slot, column in enumerate(template.columns):
        text = text.replace(f"column={column},", f"column=c{slot},")
    for slot, table in enumerate(template.tables):
        text = text.replace(f"table={table})", f"table=t{slot})")
    return text


def _weight(template: Template) -> float:
    """Joins, conditions and set operations fit few databases: they are tried more often."""
    weight = math.sqrt(template.count)
    if len(template.table_slots) > 1:
        weight *= 5
    if template.value_slots:
        weight *= 2
    if isinstance(template.query, SetOperation):
        weight *= 2
    if any(isinstance(node, Scalar) for node in walk(template.query)):
        weight *= 2
    return weight


def fill_many(
    templates: Sequence[Template],
    databases: Sequence[Database],
    total: int,
    rng: random.Random,
    *,
    banned: Collection[str] = (),
    most: int = 25,
) -> list[Pair]:
    """About `total` pairs; at most `most` of a template in a database.

    A template is tried as often as the square root of its count says (more if
    its query is not the simplest), a database in proportion to the root of its
    number of columns. Questions
    whose key is in `banned` are left out, as are repeats within a database.
    """
    weights = [_weight(template) for template in templates]
    sizes = [math.sqrt(len(database.schema.columns)) for database in databases]
    made: Counter[tuple[int, int]] = Counter()
    failed: Counter[tuple[int, int]] = Counter()
    seen: defaultdict[str, set[str]] = defaultdict(set)
    pairs: list[Pair] = []
    for _ in range(total * 30):
        t = rng.choices(range(len(templates)), weights)[0]
        d = rng.choices(range(len(databases)), sizes)[0]
        if made[t, d] >= most or failed[t, d] >= _MAX_FAILURES:
            continue
        try:
            pair = fill(templates[t], databases[d], rng)
        except NoFit:
            failed[t, d] += 1
            continue
        key = question_key(pair.question)
        if key in banned or key in seen[pair.db_id]:
            failed[t, d] += 1
            continue
        seen[pair.db_id].add(key)
        made[t, d] += 1
        pairs.append(pair)
        if len(pairs) >= total:
            break
    return pairs
