"""Constrained decoding: what a local model writes is SQL over the tables that there are.

grammar = grammar_of(schema, tables)      which queries there are
processor(grammar, loaded)                as masks, for `generation.generate`
grammar.gbnf                              as text, for llama.cpp
"""

from __future__ import annotations

from plainsql.translators.language_model.constrained.grammar import Grammar, grammar_of
from plainsql.translators.language_model.constrained.masks import NotCovered, processor

__all__ = ["Grammar", "NotCovered", "grammar_of", "processor"]
