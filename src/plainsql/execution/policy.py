"""The policies by dialect, and the parts of them that engines use themselves."""

from __future__ import annotations

from plainsql.execution.policies.base import Policy, fold
from plainsql.execution.policies.duckdb import DUCKDB
from plainsql.execution.policies.generic import generic_policy
from plainsql.execution.policies.mysql import MYSQL
from plainsql.execution.policies.postgres import POSTGRES
from plainsql.execution.policies.sqlite import FUNCTIONS as SQLITE_FUNCTIONS
from plainsql.execution.policies.sqlite import SQLITE
from plainsql.execution.policies.sqlite import TABLE_FUNCTIONS as SQLITE_TABLE_FUNCTIONS

__all__ = [
    "POLICIES",
    "SQLITE",
    "SQLITE_FUNCTIONS",
    "SQLITE_TABLE_FUNCTIONS",
    "Policy",
    "fold",
    "generic_policy",
]

POLICIES = {policy.dialect: policy for policy in (SQLITE, DUCKDB, POSTGRES, MYSQL)}
