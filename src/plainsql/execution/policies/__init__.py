"""What the guard and the engines allow, as data: one file a dialect.

`policy` is the door to them; `base` says what a policy is, `nodes` and
`functions` list the nodes of the tree.
"""
