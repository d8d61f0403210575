"""Recipes: superlatives, tops, tops within groups, arithmetic between columns."""

from __future__ import annotations

from plainsql.logical_form.tree import Arithmetic, Literal, Select
from plainsql.training.synthesis.instantiate import NoFit
from plainsql.training.synthesis.scene import Asked, Col, Scene, Tab, recipe
from plainsql.training.synthesis.shapes import agg, col, compare, count, down, up

# The last word of a measure: (most, least, more than, less than).
ADJECTIVES = {
    "price cost fee": ("most expensive", "cheapest", "more expensive than", "cheaper than"),
    "age": ("oldest", "youngest", "older than", "younger than"),
    "height": ("tallest", "shortest", "taller than", "shorter than"),
    "weight": ("heaviest", "lightest", "heavier than", "lighter than"),
    "salary wage": ("best paid", "worst paid", "paid more than", "paid less than"),
    "length duration runtime distance": ("longest", "shortest", "longer than", "shorter than"),
    "population area size capacity": ("largest", "smallest", "larger than", "smaller than"),
    "rating score": ("best rated", "worst rated", "rated above", "rated below"),
    "speed": ("fastest", "slowest", "faster than", "slower than"),
    "year": ("most recent", "oldest", "newer than", "older than"),
    "attendance": ("best attended", "worst attended", "attended by over", "attended by under"),
}  # fmt: skip


@recipe(
    "[Which|What] {t} has the [highest|largest|greatest|biggest|maximum] {n}?",
    "{t} with the [highest|largest|most|max] {n}",
    "[Find|Show|Name] the {t} with the [highest|greatest] {n}",
    "Which {t} has the most {n}?",
)
def highest(s: Scene) -> Asked:
    return _extreme(s, True)


@recipe(
    "[Which|What] {t} has the [lowest|smallest|least|minimum] {n}?",
    "{t} with the [lowest|smallest|least|min] {n}",
    "[Find|Show|Name] the {t} with the [lowest|smallest] {n}",
)
def lowest(s: Scene) -> Asked:
    return _extreme(s, False)


def _extreme(s: Scene, most: bool) -> Asked:
    t = s.table(4)
    label, n = s.label(t), s.number(t)
    order = down(n) if most else up(n)
    query = Select((col(label),), order_by=(order,), limit=Literal(1))
    return Asked(query, {"t": Tab(t), "n": Col(n)})


@recipe("{k} [highest|top] {t}", weight=3.0)
def by_adjective(s: Scene) -> Asked:
    t = s.table(4)
    label = s.label(t)
    words, n = _adjective(s, t)
    most = s.rng.random() < 0.6
    word = words[0 if most else 1]
    order = down(n) if most else up(n)
    single = s.rng.random() < 0.4
    k = 1 if single else s.some()
    query = Select((col(label),), order_by=(order,), limit=Literal(k))
    texts: tuple[str, ...] = (
        f"[What are|Show me|List|Give me] the {{k}} {word} {{t+}}",
        f"{{k}} {word} {{t+}}",
        f"[the|] names of the {{k}} {word} {{t+}}",
        f"top {{k}} {word} {{t+}}",
    )
    if single:
        texts = (
            f"[Which|What] is the {word} {{t}}?",
            f"[the|] {word} {{t}}",
            f"[Show|Find|Name] the {word} {{t}}",
            f"Which {{t}} is the {word}?",
        )
    return Asked(query, {"t": Tab(t), "k": k}, texts)


def _adjective(s: Scene, table: int, but: tuple[str, ...] = ()) -> tuple[tuple[str, ...], int]:
    for key in s.rng.sample(sorted(ADJECTIVES), len(ADJECTIVES)):
        try:
            if key not in but:
                return ADJECTIVES[key], s.measure(table, key)
        except NoFit:
            continue
    raise NoFit("no column with an adjective")


@recipe("{t+} older than {v}", weight=3.0)
def by_comparative(s: Scene) -> Asked:
    t = s.table(4)
    label = s.label(t)
    words, n = _adjective(s, t)
    more = s.rng.random() < 0.6
    v = s.amount(n)
    word = words[2 if more else 3]
    condition = compare("GT" if more else "LT", n, v)
    texts: tuple[str, ...] = (
        f"[Which|What] {{t+}} are {word} {{v}}?",
        f"{{t+}} {word} {{v}}",
        f"[List|Show|Find] [all|the|] {{t+}} [that are|] {word} {{v}}",
    )
    query = Select((col(label),), where=condition)
    if s.rng.random() < 0.4:
        query = Select((count(t),), where=condition)
        texts = (
            f"How many {{t+}} are {word} {{v}}?",
            f"number of {{t+}} {word} {{v}}",
            f"Count the {{t+}} that are {word} {{v}}",
        )
    return Asked(query, {"t": Tab(t), "v": v}, texts)


@recipe(
    "[What|Which] are the {k} {t+} with the [highest|largest|most] {n}?",
    "top {k} {t+} by {n}",
    "[Show|List|Give me] the [top {k}|{k} best|{k} highest] {t+} by {n}",
    "The {k} {t+} with the [highest|greatest] {n}",
    "[top|first] {k} {t+} [ranked|sorted|ordered] by {n}[, highest first|, descending]",
    weight=1.5,
)
def top(s: Scene) -> Asked:
    return _ranked(s, True)


@recipe(
    "[What|Which] are the {k} {t+} with the [lowest|smallest|least] {n}?",
    "bottom {k} {t+} by {n}",
    "[Show|List|Give me] the {k} {t+} with the [lowest|smallest] {n}",
)
def bottom(s: Scene) -> Asked:
    return _ranked(s, False)


def _ranked(s: Scene, most: bool) -> Asked:
    t = s.table(5)
    label, n, k = s.label(t), s.number(t), s.some(2, 10)
    order = down(n) if most else up(n)
    query = Select((col(label),), order_by=(order,), limit=Literal(k))
    return Asked(query, {"t": Tab(t), "n": Col(n), "k": k})


@recipe(
    (
        "[What are|Show|List] the [top {k}|{k} best|{k} highest] {t+} [by|in] {n} "
        "[in|for|within|of] each {c}"
    ),
    "top {k} {t+} per {c} by {n}",
    "For each {c}, [list|show|which are] the {k} {t+} with the [highest|largest|most] {n}",
    "{k} {t+} with the highest {n} per {c}",
    "[Give me|Show] the {k} {t+} with the [highest|greatest] {n} from every {c}",
    weight=3.0,
)
def top_per_group(s: Scene) -> Asked:
    t = s.table(6)
    c = s.category(t)
    label, n, k = s.label(t), s.number(t), s.some(2, 5)
    items = (col(label),) if s.rng.random() < 0.3 else (col(c), col(label))
    query = Select(items, order_by=(down(n),), limit=Literal(k), limit_per=col(c))
    return Asked(query, {"t": Tab(t), "n": Col(n), "c": Col(c), "k": k})


@recipe(
    "[Which|What] {t} has the [highest|largest|most] {n} in each {c}?",
    "{t} with the highest {n} [per|for each] {c}",
    "For [each|every] {c}, [show|find] the {t} with the [highest|greatest] {n}",
    "best {t} by {n} in every {c}",
    weight=2.0,
)
def best_per_group(s: Scene) -> Asked:
    t = s.table(6)
    c = s.category(t)
    label, n = s.label(t), s.number(t)
    query = Select((col(c), col(label)), order_by=(down(n),), limit=Literal(1), limit_per=col(c))
    return Asked(query, {"t": Tab(t), "n": Col(n), "c": Col(c)})


@recipe(
    "[Which|What] {t} has the [lowest|smallest|least] {n} in each {c}?",
    "{t} with the lowest {n} [per|for each] {c}",
    "For [each|every] {c}, [show|find] the {t} with the [lowest|smallest] {n}",
)
def worst_per_group(s: Scene) -> Asked:
    t = s.table(6)
    c = s.category(t)
    label, n = s.label(t), s.number(t)
    query = Select((col(c), col(label)), order_by=(up(n),), limit=Literal(1), limit_per=col(c))
    return Asked(query, {"t": Tab(t), "n": Col(n), "c": Col(c)})


@recipe(
    "[What is|] the total of {a} times {b} [over|for] [all|the] {t+}?",
    "total {a} * {b} of {t+}",
    "sum of {a} multiplied by {b} for [all|the] {t+}",
    "Multiply {a} by {b} for each {t} and add it all up",
    weight=2.0,
)
def total_product(s: Scene) -> Asked:
    t = s.table()
    a, b = _price_and_quantity(s, t)
    query = Select((agg("SUM", Arithmetic("TIMES", col(a), col(b))),))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b)})


def _price_and_quantity(s: Scene, table: int) -> tuple[int, int]:
    """A price and a quantity of the same table; now and then any two measures."""
    try:
        price = s.measure(table, "price cost amount fee rate value rental")
        words = "quantity count units number stock amount seats shares tickets pieces"
        return price, s.measure(table, words, (price,))
    except NoFit:
        if s.rng.random() < 0.5:
            raise
        a = s.number(table)
        return a, s.number(table, (a,))


@recipe(
    "[What is|Show] the total {a} times {b} [per|for each|by] {c} of {t+}",
    "sum of {a} * {b} by {c} for {t+}",
    "For each {c}, what is the {a} multiplied by the {b} in total over the {t+}?",
    weight=2.0,
)
def total_product_by(s: Scene) -> Asked:
    t = s.table(4)
    a, b = _price_and_quantity(s, t)
    c = s.category(t)
    query = Select((col(c), agg("SUM", Arithmetic("TIMES", col(a), col(b)))), group_by=(col(c),))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b), "c": Col(c)})


@recipe(
    "[What is|] the average difference between {a} and {b} [of|over] [the|all] {t+}?",
    "average {a} minus {b} of {t+}",
    "By how much does the {a} [exceed|differ from] the {b} of {t+} on average?",
)
def average_difference(s: Scene) -> Asked:
    t = s.table()
    a = s.number(t)
    b = s.number(t, (a,))
    query = Select((agg("AVG", Arithmetic("MINUS", col(a), col(b))),))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b)})


@recipe(
    "[What is|Show|Compute] the difference between {a} and {b} for each {t}",
    "{a} minus {b} of each {t}",
    "[For each|For every] {t}, [show|compute] {a} minus {b}",
)
def difference(s: Scene) -> Asked:
    t = s.table()
    label, a = s.label(t), s.number(t)
    b = s.number(t, (a,))
    query = Select((col(label), Arithmetic("MINUS", col(a), col(b))))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b)})


@recipe(
    "[What is|Show|Compute] the {a} per {b} [of|for] each {t}",
    "ratio of {a} to {b} for each {t}",
    "{a} divided by {b} for [every|each] {t}",
)
def ratio(s: Scene) -> Asked:
    t = s.table()
    label, a = s.label(t), s.number(t)
    b = s.number(t, (a,))
    query = Select((col(label), Arithmetic("OVER", col(a), col(b))))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b)})


@recipe(
    "[Which|What] {t} has the [largest|biggest|highest] difference between {a} and {b}?",
    "{t} with the [largest|biggest] {a} minus {b}",
    "For which {t} does {a} exceed {b} the most?",
)
def largest_difference(s: Scene) -> Asked:
    t = s.table(4)
    label, a = s.label(t), s.number(t)
    b = s.number(t, (a,))
    key = Arithmetic("MINUS", col(a), col(b))
    query = Select((col(label),), order_by=(down(key),), limit=Literal(1))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b)})


@recipe(
    "[What is|] the total of {a} and {b} [of|for|over] all {t+}?",
    "sum of {a} plus {b} [over|for] [all|the] {t+}",
    "{a} and {b} of all {t+} added together",
)
def total_of_both(s: Scene) -> Asked:
    t = s.table()
    a = s.number(t)
    b = s.number(t, (a,))
    query = Select((agg("SUM", Arithmetic("ADD", col(a), col(b))),))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b)})


@recipe(
    "[Which|What] {t+} have [a|] {a} [greater|higher|larger] than [their|the] {b}?",
    "{t+} [where|with] {a} [above|greater than|>] {b}",
    "[List|Find|Show] [the|] {t+} whose {a} exceeds [their|the] {b}",
)
def one_column_above_other(s: Scene) -> Asked:
    t = s.table(4)
    label, a = s.label(t), s.number(t)
    b = s.number(t, (a,))
    query = Select((col(label),), where=compare("GT", a, col(b)))
    return Asked(query, {"t": Tab(t), "a": Col(a), "b": Col(b)})


@recipe(
    (
        "[Show|List] [the|all|] {t+} and their {n}, [highest first|in descending order|from "
        "highest to lowest]"
    ),
    "{t+} with {n}, sorted by {n} descending",
    "[List|Rank] {t+} by {n} from [most to least|high to low] [and show the {n}|with the {n}]",
)
def ranked_with_measure(s: Scene) -> Asked:
    t = s.table()
    label, n = s.label(t), s.number(t)
    query = Select((col(label), col(n)), order_by=(down(n),))
    return Asked(query, {"t": Tab(t), "n": Col(n)})


@recipe(
    "[Which|What] are the {k} most [common|frequent] {c+} of {t+}?",
    "{k} most common {c+} [of|among] {t+}",
    "top {k} {c+} by number of {t+}",
    "The {k} {c+} with the most {t+}",
)
def commonest_few(s: Scene) -> Asked:
    t = s.table(6)
    c, k = s.category(t), s.some(2, 5)
    query = Select((col(c),), group_by=(col(c),), order_by=(down(count(t)),), limit=Literal(k))
    return Asked(query, {"t": Tab(t), "c": Col(c), "k": k})
