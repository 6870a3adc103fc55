"""The base of every error that is written for the person who runs the pipeline."""


class JgptError(Exception):
    """Says what is wrong with which file, page, shard or setting, what was expected, and what to do about it."""
