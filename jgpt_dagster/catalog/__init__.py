"""The catalog of a deployment, without Dagster: corpora and stages, what lies on disk, what is due, status, retention.

Start with `corpora` (what a corpus is) and `outputs` (every output by its place on disk). Everything here takes values,
never Settings, and reads manifests only; the stages verify data by its hashes when they run.
"""
