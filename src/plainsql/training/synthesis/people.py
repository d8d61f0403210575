"""Everyday questions from hand-written recipes, over every database given."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from plainsql.logical_form.from_sql import NotCovered, from_sql
from plainsql.logical_form.to_sql import to_sql
from plainsql.logical_form.tree import Query
from plainsql.training.synthesis import (  # noqa: F401  (each registers its recipes)
    people_bridges,
    people_columns,
    people_dates,
    people_filters,
    people_groups,
    people_joins,
    people_ranks,
)
from plainsql.training.synthesis.corpus import Database
from plainsql.training.synthesis.instantiate import NoFit, is_empty
from plainsql.training.synthesis.output import Pair, question_key
from plainsql.training.synthesis.scene import RECIPES, Recipe, Scene, worded
from plainsql.training.synthesis.wording import expand, in_register, with_articles

_TRIES = 4
_KEEP_EMPTY = 0.1
_MAX_FAILURES = 8


def ask(kind: Recipe, database: Database, rng: random.Random) -> Pair:
    """One question by the recipe. Raises `NoFit`."""
    scene = Scene(database, rng)
    for _ in range(_TRIES):
        asked = kind.draw(scene)
        sql = to_sql(asked.query, database.schema, database.graph)
        rows = database.run(sql)
        if rows is None or (is_empty(rows) and rng.random() > _KEEP_EMPTY):
            continue
        text = worded(expand(rng.choice(asked.texts or kind.texts), rng), asked, scene)
        values = tuple(str(v) for v in asked.slots.values() if isinstance(v, str))
        question = in_register(with_articles(text), rng, values)
        tree = _tree_if_unread(asked.query, sql, database)
        return Pair(
            str(database.path), database.db_id, question, sql, f"people:{kind.name}", tree=tree
        )
    raise NoFit("only empty results")


def _tree_if_unread(query: Query, sql: str, database: Database) -> str:
    """The tree itself where reading the SQL back does not give the same SQL."""
    try:
        again = from_sql(sql, database.schema, database.graph)
        same = to_sql(again, database.schema, database.graph) == sql
    except NotCovered:
        same = False
    return "" if same else repr(query)


def ask_many(
    databases: Sequence[Database],
    total: int,
    rng: random.Random,
    *,
    banned: Collection[str] = (),
    most: int = 4,
) -> list[Pair]:
    """About `total` questions; at most `most` by one recipe in one database."""
    made: Counter[tuple[str, int]] = Counter()
    failed: Counter[tuple[str, int]] = Counter()
    seen: defaultdict[str, set[str]] = defaultdict(set)
    pairs: list[Pair] = []
    weights = [kind.weight for kind in RECIPES]
    for _ in range(total * 12):
        kind = rng.choices(RECIPES, weights)[0]
        at = rng.randrange(len(databases))
        place = kind.name, at
        if made[place] >= most * kind.weight or failed[place] >= _MAX_FAILURES:
            continue
        try:
            pair = ask(kind, databases[at], rng)
        except NoFit:
            failed[place] += 1
            continue
        key = question_key(pair.question)
        if key in banned or key in seen[pair.db_id]:
            failed[place] += 1
            continue
        seen[pair.db_id].add(key)
        made[place] += 1
        pairs.append(pair)
        if len(pairs) >= total:
            break
    return pairs
