"""Dagster's webserver behind a guard, so that a web page that the user visits cannot act as the user.

`dagster_commands.py` starts Dagster's own commands, `request_guard.py` decides which requests reach them.
"""
