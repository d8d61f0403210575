"""Translators: question + schema + links -> ranked candidate queries."""
