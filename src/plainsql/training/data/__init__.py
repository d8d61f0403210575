"""Pairs of question and SQL in any of the usual forms, made ready for training."""
