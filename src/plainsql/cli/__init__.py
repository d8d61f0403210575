"""The command line: one thin file a verb, over the same functions as Python users call."""
