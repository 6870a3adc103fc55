"""A year of a deployment in fast time: real catalog, sensors, verdicts and manifests; the rest are stand-ins.

`state_machine` has the events, `invariants` what must hold after each, `python -m jgpt_dagster_tests.simulation 200`
runs many seeds.
"""
