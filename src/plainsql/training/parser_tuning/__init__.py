"""Tuning of plainsql's own parser: the commands of the workshop with `--base parser`."""

from plainsql.training.parser_tuning.folders import (
    load_adapted,
    merge_parser,
)
from plainsql.training.parser_tuning.run import train_parser

__all__ = ["load_adapted", "merge_parser", "train_parser"]
