"""Pretrain a Japanese GPT-2 from raw dumps, as Dagster assets."""

import os

# numpy's OpenBLAS starts a thread for each core, which all spin for a while, in every one of a run's many processes.
# Nothing here multiplies matrices with numpy (PyTorch has its own threads).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
