"""The environment variables of training processes: those that training needs, and no others.

Training loads files that other processes have written, with libraries of many authors; passwords of the database, the
broker and the object store are not for it.
"""

import os
import re
import socket
from collections.abc import Mapping

from jgpt_dagster.lm.launch.gpus import has_gpu
from jgpt_dagster.runtime.resource_limits import available_cores

EXTRA_VARIABLES = "JGPT_TRAINING_VARIABLES"
"""The variable that names further variables for training on this host, separated by commas."""

FORWARDED_VARIABLES = re.compile(
    r"PATH|LD_LIBRARY_PATH|JGPT_LAUNCH|JGPT_SHARED_SCRATCH|PYTHON\w+|OMP_\w+|TOKENIZERS_PARALLELISM|DS_ACCELERATOR"
    r"|WANDB_MODE|(DAGSTER_PIPES|NCCL|GLOO|TORCH|PYTORCH|UCX|FI)_\w+"
)
"""Variables for every host. On other hosts they are visible on a command line, so secrets are not among them."""

# Variables for this host, in addition. Trackers need their passwords; nothing else does.
_LOCAL_VARIABLES = re.compile(
    # User, locale and folders.
    r"HOME|USER|LOGNAME|SHELL|TERM|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|HOSTNAME|XDG_\w+|VIRTUAL_ENV|CONDA_PREFIX"
    # The group of processes.
    r"|MASTER_ADDR|MASTER_PORT|RANK|LOCAL_RANK|WORLD_SIZE"
    # Devices, threads and libraries.
    r"|LD_PRELOAD|(CUDA|NVIDIA|ROCR|HIP|HSA|DS|DEEPSPEED|TRITON|TORCH\w*|MKL|KMP|GOMP|OPENBLAS|MALLOC)_\w+"
    # Compilers, which DeepSpeed and torch.compile start.
    r"|CC|CXX|CFLAGS|CXXFLAGS|LDFLAGS|CPATH|LIBRARY_PATH|C_INCLUDE_PATH|CPLUS_INCLUDE_PATH|MAX_JOBS"
    # Hugging Face, but for its token: training opens local files only.
    r"|HF_(?!TOKEN|\w*_TOKEN)\w+|TRANSFORMERS_\w+|TOKENIZERS_\w+"
    # Trackers, and the way to them.
    r"|(WANDB|MLFLOW|TENSORBOARD)_\w+|NETRC|(?i:https?|all|no)_(?i:proxy)|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE"
    # Logging in to other hosts.
    r"|SSH_AUTH_SOCK|KRB5CCNAME"
    # This project, but for the webhook, whose URL is a secret.
    r"|JGPT_(?!FAILURE_WEBHOOK$)\w+"
)


def allowed_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that training processes on this host get, with those that JGPT_TRAINING_VARIABLES names."""
    extra = {name.strip() for name in environment.get(EXTRA_VARIABLES, "").split(",")}
    return {
        name: value
        for name, value in environment.items()
        if name in extra or FORWARDED_VARIABLES.fullmatch(name) or _LOCAL_VARIABLES.fullmatch(name)
    }


def training_environment(processes: int, *, on_cpu: bool = False) -> dict[str, str]:
    """Return the environment of `processes` training processes a host: what is allowed of this process's own, plus
    missing defaults.

    `on_cpu` keeps training off the GPUs of this host.
    """
    defaults = {
        # For plain python, which DeepSpeed would otherwise take for an MPI job. Launchers set them for each process.
        **{"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())},
        **({} if has_gpu() else {"DS_ACCELERATOR": "cpu"}),
        "OMP_NUM_THREADS": str(max(1, available_cores() // processes)),
        # A thread that spins while it waits takes the core that another one needs: ten times slower on a machine that
        # has other work too.
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **allowed_variables(os.environ), **({"DS_ACCELERATOR": "cpu"} if on_cpu else {})}


def free_port() -> int:
    """Return a TCP port of this host that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
