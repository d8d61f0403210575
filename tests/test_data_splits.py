"""Which examples validate: whole groups, the same for the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plainsql.training.data.splits import Groups, validation_groups

SIGNATURES = st.lists(
    st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=3), min_size=2, max_size=60
)


def grouped(examples: list[list[str]]) -> tuple[Groups, list[int]]:
    groups = Groups()
    return groups, [groups.add(signatures) for signatures in examples]


@settings(max_examples=200, deadline=None)
@given(SIGNATURES, st.integers(0, 3), st.floats(0, 0.9))
def test_no_signature_is_ever_on_both_sides(examples, seed, fraction):
    groups, numbers = grouped(examples)
    chosen = validation_groups(groups, fraction, seed)
    sides: dict[str, set[bool]] = {}
    for signatures, number in zip(examples, numbers, strict=True):
        for signature in signatures:
            sides.setdefault(signature, set()).add(groups.root(number) in chosen)
    assert all(len(side) == 1 for side in sides.values())
    assert sum(groups.sizes().values()) == len(examples)
    trained = [n for n in numbers if groups.root(n) not in chosen]
    assert trained, "something is left to train on"
    if fraction == 0:
        assert not chosen


@given(SIGNATURES, st.randoms())
def test_the_order_of_rows_does_not_matter(examples, random):
    examples = [signatures[:1] for signatures in examples]
    groups, _ = grouped(examples)
    before = {groups.names()[g] for g in validation_groups(groups, 0.3, 1)}
    random.shuffle(examples)
    groups, _ = grouped(examples)
    assert {groups.names()[g] for g in validation_groups(groups, 0.3, 1)} == before


SIZES = [
    ([10] * 10, 0.1, 10),
    ([10] * 10, 0.25, 20),
    ([100, 2, 1], 0.1, 3),
    ([50, 50], 0.1, 50),
    ([5, 95], 0.01, 5),  # the smallest, where all are above the share
    ([7], 0.5, 0),  # nothing to divide
    ([10] * 10, 0.0, 0),
]


@pytest.mark.parametrize(("sizes", "fraction", "validated"), SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_the_share_is_kept_to(sizes, fraction, validated, seed):
    groups, _ = grouped([[f"db{i}"] for i, size in enumerate(sizes) for _ in range(size)])
    chosen = validation_groups(groups, fraction, seed)
    assert sum(groups.sizes()[group] for group in chosen) == validated


def test_reserved_groups_validate_whatever_the_fraction():
    groups, _ = grouped([["a"], ["b", "c"], ["d"]])
    groups.reserve(["c"])
    assert {groups.names()[g] for g in validation_groups(groups, 0.9, 0)} == {"b"}


def test_another_seed_chooses_others():
    groups, _ = grouped([[f"db{i}"] for i in range(50)])
    assert validation_groups(groups, 0.1, 0) != validation_groups(groups, 0.1, 1)
    assert validation_groups(groups, 0.1, 0) == validation_groups(groups, 0.1, 0)
