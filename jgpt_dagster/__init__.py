"""Pretrain a Japanese GPT-2 from raw dumps, as Dagster assets."""
