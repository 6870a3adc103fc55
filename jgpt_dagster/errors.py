"""The base class of all errors that are written for the user."""


class JgptError(Exception):
    """An error whose message names the file, page, shard or setting, what was expected, and what to do."""
