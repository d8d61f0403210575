"""Train the re-ranker on the parser's beams over databases it has not seen.

    python -m plainsql.training.ranker_recipe --spider DIR --model FOLDER \\
        [--spider-syn FILE] [--jsonl FILE …] [--cache FILE]

asks every question of the validation databases, runs the candidates, and learns
which of them is right (a conditional logit with one outcome more, for "none").
It prints accuracy cross-validated by database, before and after, and writes
`ranker.json` into the model's folder.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from plainsql.choosing import Trial, signals_of
from plainsql.errors import PlainsqlError
from plainsql.evaluation.execution_accuracy import Gold, compare, run_gold
from plainsql.ranking import RANKER, RESULT_SIGNALS, Ranker
from plainsql.training.parser_export import seal
from plainsql.training.parser_pairs import (
    VALIDATION_DATABASES,
    Database,
    Pair,
    read_jsonl,
    read_spider,
    spider_databases,
)
from plainsql.translators.parser.signals import SIGNALS
from plainsql.trying import try_candidates

if TYPE_CHECKING:
    from plainsql.ask import Database as Asked
    from plainsql.execution.base import Engine

Floats = NDArray[np.float64]
DECAYS = (0.01, 0.03, 0.1)
_STEPS, _RATE = 300, 0.02
_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Beamed:
    """One question's candidates: signals (K, F + R), whether each is right, its weight."""

    db: str
    source: str
    signals: Floats
    right: NDArray[np.bool_]


# -- beams -------------------------------------------------------------------


def beams(
    pairs: Iterable[tuple[str, Pair]], databases: dict[str, Database], model: Path
) -> list[Beamed]:
    """Ask and run every pair; those whose gold fails are left out."""
    from plainsql.ask import connect
    from plainsql.translators.parser.translator import ParserTranslator

    translator = ParserTranslator(model)
    found: list[Beamed] = []
    ordered = sorted(pairs, key=lambda item: item[1].key)
    for key, group in groupby(ordered, key=lambda item: item[1].key):
        known = databases[key]
        with connect(known.path, schema=known.schema, translator=translator) as database:
            found += [made for item in group if (made := _beamed(*item, database))]
        print(f"{key}: {len(found)} questions so far", file=sys.stderr)
    return found


def _beamed(source: str, pair: Pair, database: Asked) -> Beamed | None:
    """The candidates of one question; None when its gold fails or there are none."""
    from plainsql.ask import CANDIDATES

    engine = database.engine
    try:
        gold = run_gold(engine, pair.sql, timeout=_TIMEOUT)
    except PlainsqlError:
        return None
    links = database.link(pair.question)
    found = database.translator.propose(pair.question, database.schema, links, CANDIDATES)
    trials = try_candidates(
        found, engine, database.schema, wanted=CANDIDATES, limit=1000, timeout=_TIMEOUT
    )
    right = [_is_right(trial, engine, gold) for trial in trials]
    return Beamed(pair.key, source, signals_of(trials), np.array(right)) if trials else None


def _is_right(trial: Trial, engine: Engine, gold: Gold) -> bool:
    return trial.possible and compare(engine, gold, trial.candidate.sql, timeout=_TIMEOUT).same


# -- learning ----------------------------------------------------------------


def fit(data: Sequence[Beamed], decay: float) -> Ranker:
    """Maximise the probability of the right candidates, or of "none" where none is right."""
    stacked = np.vstack([item.signals for item in data])
    mean, scale = stacked.mean(0), stacked.std(0) + 1e-3
    x, right, real = _padded(data, mean, scale)
    gold = torch.cat((right, ~right.any(1, keepdim=True)), 1)
    weights = torch.zeros(len(mean), requires_grad=True)
    none = torch.zeros(1, requires_grad=True)
    # The parser's own order is the prior: its weight is hardly held back.
    held_back = torch.ones(len(mean))
    held_back[len(SIGNALS) + RESULT_SIGNALS.index("behind_best")] = 0.05
    optimizer = torch.optim.AdamW([weights, none], lr=_RATE, weight_decay=0.0)
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS)
        logits = torch.where(real, x @ weights, -1e9)
        log_probs = torch.cat((logits, none.expand(len(x), 1)), 1).log_softmax(1)
        likelihood = torch.where(gold, log_probs, -1e9).logsumexp(1).mean()
        loss = decay * (held_back * weights.square()).sum() - likelihood
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Ranker(
        (*SIGNALS, *RESULT_SIGNALS),
        mean,
        scale,
        weights.detach().double().numpy(),
        none=float(none.detach()),
    )


def _padded(data: Sequence[Beamed], mean: Floats, scale: Floats) -> tuple[torch.Tensor, ...]:
    most = max(len(item.right) for item in data)
    x = np.zeros((len(data), most, len(mean)), np.float32)
    right = np.zeros((len(data), most), bool)
    real = np.zeros((len(data), most), bool)
    for i, item in enumerate(data):
        count = len(item.right)
        x[i, :count] = np.clip((item.signals - mean) / scale, -5, 5)
        right[i, :count] = item.right
        real[i, :count] = True
    return torch.from_numpy(x), torch.from_numpy(right), torch.from_numpy(real)


def accuracy(data: Sequence[Beamed], ranker: Ranker | None) -> float:
    """Share of questions whose chosen candidate is right."""
    hits = 0
    for item in data:
        ran = item.signals[:, len(SIGNALS) + RESULT_SIGNALS.index("not_run")] == 0
        score = -np.arange(len(item.right)) if ranker is None else ranker.logits(item.signals)
        hits += bool(item.right[int(np.argmax(np.where(ran, score, -np.inf)))])
    return hits / max(len(data), 1)


def cross_validated(data: Sequence[Beamed], decay: float) -> dict[str, tuple[float, float, float]]:
    """For each source: accuracy of the first candidate, of the chosen, of the best."""
    hits: dict[str, list[tuple[float, float, float]]] = {}
    for name in sorted({_name(item) for item in data}):
        ranker = fit([item for item in data if _name(item) != name], decay)
        for item in data:
            if _name(item) == name:
                scores = (accuracy([item], None), accuracy([item], ranker))
                hits.setdefault(item.source, []).append((*scores, float(item.right.any())))
    means = {source: np.mean(rows, axis=0) for source, rows in hits.items()}
    return {source: (row[0], row[1], row[2]) for source, row in means.items()}


def _name(item: Beamed) -> str:
    return item.db.split("/")[0]


def held_out_pairs(
    options: argparse.Namespace, databases: dict[str, Database]
) -> list[tuple[str, Pair]]:
    """Every question over a validation database, with the name of its source."""
    spider = [*read_spider(options.spider / "train_spider.json", ("given",))]
    pairs = [("spider", pair) for pair in spider]
    if options.spider_syn:
        pairs += [("spider_syn", pair) for pair in read_spider(options.spider_syn, ("found",))]
    rng = np.random.default_rng(0)
    for path in options.jsonl:
        made = [
            p for p in read_jsonl(path, databases) if p.key.split("/")[0] in VALIDATION_DATABASES
        ]
        chosen = rng.permutation(len(made))[: options.most]
        pairs += [(path.stem, made[i]) for i in chosen]
    return [item for item in pairs if item[1].key.split("/")[0] in VALIDATION_DATABASES]


def main(arguments: list[str] | None = None) -> None:
    """Make the beams, choose the strength of the penalty, fit, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spider", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="an exported parser")
    parser.add_argument("--spider-syn", type=Path)
    parser.add_argument("--jsonl", type=Path, nargs="*", default=[])
    parser.add_argument("--most", type=int, default=800, help="generated pairs of each file")
    parser.add_argument("--cache", type=Path, help="keep the beams here; read them if it exists")
    options = parser.parse_args(arguments)
    if options.cache and options.cache.exists():
        data = pickle.loads(options.cache.read_bytes())
    else:
        databases = spider_databases(options.spider)
        data = beams(held_out_pairs(options, databases), databases, options.model)
        if options.cache:
            options.cache.write_bytes(pickle.dumps(data))
    best = max(DECAYS, key=lambda decay: _reported(data, decay))
    fit(data, best).save(options.model / RANKER)
    seal(options.model, RANKER)
    print(f"written with decay {best}, on {len(data)} questions")


def _reported(data: Sequence[Beamed], decay: float) -> float:
    """Cross-validated accuracy on the questions people wrote, printed for every source."""
    scores = cross_validated(data, decay)
    for name, (first, chosen, best) in sorted(scores.items()):
        line = f"decay {decay} {name}: first {first:.3f} chosen {chosen:.3f} best {best:.3f}"
        print(line, flush=True)
    return float(np.mean([row[1] for name, row in scores.items() if name.startswith("spider")]))


if __name__ == "__main__":
    from plainsql.training.ranker_recipe import main as run  # pickles name this module

    run()
