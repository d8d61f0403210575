"""Which words of a question mean which tables, columns and values.

    text ─ words ─▶ Question ─ names ───────▶ NameMatch    by spelling
                             ├ embedding ───▶ NameMatch    by meaning (SOFT)
                             ├ literals ────▶ ValueCandidate    in the question itself
                             └ value_index ─▶ ValueCandidate    cells of the database

`link.link` composes them into `Links`.
"""
