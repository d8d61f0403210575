"""Whether the words of a question and the clauses of its query call for each other."""

from __future__ import annotations

import re

# What a word of the question calls for in the SQL.
_QUESTION_NEEDS = (
    (
        r"^how many\b|\bnumber of (?!.*\bnumber\b)|\bcount the\b",
        r"COUNT\(|SUM\(|num|count|total|quantity|many",
    ),
    (r"\b(distinct|different|unique)\b", r"\bDISTINCT\b|GROUP BY|EXCEPT|INTERSECT|UNION"),
    (r"\b(maximum|max|highest|greatest|largest|biggest)\b", r"MAX\(|\bDESC\b"),
    (
        r"\b(minimum|min|lowest|smallest|fewest|least common|least frequent)\b(?<!at)",
        r"MIN\(|\bASC\b",
    ),
    (r"\b(descending|decreasing|reverse)\b", r"\bDESC\b"),
    (
        r"\b(order\w*|sort\w*|alphabetical\w*|ascending|lexicographic\w*) (by|in|of)?",
        r"ORDER BY|order",
    ),
    (
        r"\b(not|no|without|except|never|nor)\b(?! (less|more|fewer|later|earlier))",
        r"NOT |EXCEPT|!=|IS NULL|= 0",
    ),
    (r"\bboth\b", r"INTERSECT|\bAND\b|, "),
    (
        r"\bor\b(?! (more|less|fewer|above|higher|after|before|later|greater|equal|lower))",
        r"\bOR\b|UNION|, ",
    ),
    (r"\b(average|mean|avg)\b", r"\bAVG\("),
    (
        r"\b(more|greater|higher|larger|bigger|above|exceed\w*|over)\b(?! than or|"
        r".*\bdescending)",
        r">|BETWEEN|DESC",
    ),
    (r"\b(less|lower|smaller|below|under)\b", r"<|ASC|EXCEPT|BETWEEN"),
    (r"\bat least\b|\bor more\b|\bno less\b", r">="),
    (r"\bat most\b|\bno more than\b|\bor (less|fewer)\b", r"<="),
    (
        r"\b(each|every|per)\b",
        r"GROUP BY|^SELECT [^()]*$|^SELECT (DISTINCT )?[^()]* FROM (?!.*COUNT)",
    ),
    (r"\b(percentage|proportion|ratio)\b", r"100"),
)  # fmt: skip
# What a clause calls for in the question.
_SQL_NEEDS = (
    (r"^SELECT DISTINCT", r"\b(distinct|different|unique|various)\b"),
    (r"COUNT\(DISTINCT", r"\b(distinct|different|unique|various)\b|how many|number of"),
    (
        r"\bMIN\(",
        r"minimum|min\b|least|lowest|smallest|fewest|earliest|first|shortest|slowest|"
        r"cheapest|youngest|oldest|lightest|start|top",
    ),
    (
        r"\bMAX\(",
        r"maximum|max\b|most|highest|largest|biggest|greatest|latest|last|longest|fastest|"
        r"recent|oldest|tallest|best|heaviest|peak|top|expensive",
    ),
    (r"\bAVG\(", r"\b(average|mean|avg)\b"),
    (r"\bSUM\(", r"\b(total|sum|combined|overall|whole|altogether|amount|how (much|many))\b"),
    (
        r"ORDER BY (?!.*LIMIT)",
        r"order|sort|alphabet|ascending|descending|rank|lexicograph|\bby\b|\bfrom\b",
    ),
    (r"LIMIT 1$", r"most|least|fewest|est\b|top|max|min|common|popular|recent|first|last|frequent"),
    (
        r"ORDER BY COUNT",
        r"most\b|least|fewest|number|common|popular|frequent|many|count|times|order|sort",
    ),
    (r"^SELECT .*COUNT\(.*ORDER BY COUNT.*LIMIT", r"how many|\band\b|number.*number|count|times|,"),
    (r"INTERSECT", r"\b(both|and|also|as well|shared?|common)\b"),
    (r"EXCEPT|NOT IN", r"\b(not|no|without|except|never|don't|doesn't|but|any|none|nor|n't)\b"),
    (r"\bOR\b|UNION", r"\b(or|either|and|one of)\b"),
    (r"^SELECT (?:(?! FROM ).)*COUNT\(", r"how many|number|count|total|frequency|amount|times"),
    (
        r"COUNT\(\*\)(?=.* FROM)(?!.*(HAVING|ORDER BY) COUNT)",
        r"how many|number|count|many|total|frequency|amount|times",
    ),
)  # fmt: skip


def agree(question: str, sql: str) -> bool:
    """False when a word like "average" or a clause like DISTINCT has no counterpart."""
    question = question.lower()
    asked = all(
        re.search(clause, sql, re.IGNORECASE)
        for words, clause in _QUESTION_NEEDS
        if re.search(words, question)
    )
    return asked and all(
        re.search(words, question) for clause, words in _SQL_NEEDS if re.search(clause, sql)
    )
