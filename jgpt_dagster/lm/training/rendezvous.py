"""Where the processes of a run meet: the ports that training opens, and who can reach them.

Processes of one host meet on the loopback interface. PyTorch's own store listens on every interface, whatever
MASTER_ADDR says, and takes what any program sends it, so rank 0 gives it a socket that is bound to loopback; gloo and
NCCL are told to use the same interface. Under torchrun the store belongs to torchrun, and on several hosts it has to be
reached from the others: both are open to the network.
"""

import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # its stubs export nothing
from torch.distributed.rendezvous import register_rendezvous_handler

from jgpt_dagster.lm.launch.gpus import has_gpu

_LOOPBACK = "127.0.0.1"
_SCHEME = "jgpt-loopback"


def choose_rendezvous() -> str | None:
    """Return the `init_method` of this process's run, None for PyTorch's default, and set the network interface.

    Call it once in a process, before it joins the process group.
    """
    if not _on_one_host():
        return None
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    if _store_belongs_to_torchrun():
        return None
    register: Callable[..., None] = register_rendezvous_handler  # untyped
    register(_SCHEME, _meet_on_loopback)
    return f"{_SCHEME}://"


def describe_ports() -> str:
    """Return which ports the run opens, for its log."""
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    others = "NCCL" if has_gpu() and os.environ.get("DS_ACCELERATOR") != "cpu" else "gloo"
    if not _on_one_host():
        return (
            f"processes meet at {where} and open further ports ({others}), which any machine of the network can reach: "
            "use a private network"
        )
    if _store_belongs_to_torchrun():
        return f"torchrun's store listens at {where} on every interface of this host; {others} on loopback alone"
    return f"processes meet at {where} and open further ports ({others}), on loopback alone"


def _on_one_host() -> bool:
    local = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE")
    return os.environ["MASTER_ADDR"] in (_LOOPBACK, "localhost", "::1") or local == os.environ["WORLD_SIZE"]


def _store_belongs_to_torchrun() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _meet_on_loopback(url: str, timeout: timedelta, **_: Any) -> Iterator[tuple[Any, int, int]]:
    """Yield the store of the run with rank and number of processes: PyTorch's protocol of a rendezvous handler."""
    rank, size, port = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    listener = socket.create_server((_LOOPBACK, port)).detach() if rank == 0 else None
    yield TCPStore(_LOOPBACK, port, size, rank == 0, timeout, master_listen_fd=listener), rank, size
    raise RuntimeError("a process group is joined once")
