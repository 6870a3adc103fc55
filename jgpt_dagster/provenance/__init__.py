"""Where an output comes from: its chain of steps, whether its files are what they were, and the text behind a step.

Functions over the tables of outputs, without Dagster. `statement` is what a release carries, `verify_release` and
`verify_root` check it.
"""
