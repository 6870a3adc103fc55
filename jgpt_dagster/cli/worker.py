"""`jgpt worker`: executes runs from the queues of a deployment on several machines."""

import os

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.errors import JgptError
from jgpt_dagster.orchestration.dagster_instance import open_instance


@click.command()
@click.option(
    "--queue", "queues", multiple=True, required=True, type=click.Choice(["cpu", "gpu"]), help="May be given twice."
)
@click.option("--processes", type=click.IntRange(min=1), help="Runs at once; default JGPT_WORKERS, on `gpu` 1.")
@click.option("--name", help="Name of the worker, unique on its host; default the queues and the process id.")
def worker(queues: tuple[str, ...], processes: int | None, name: str | None) -> None:
    """Execute runs from the queues here. After SIGTERM, the worker finishes its runs and exits."""
    settings = open_deployment()
    try:
        from jgpt_dagster.orchestration.celery_launcher import worker_app
    except ModuleNotFoundError as error:
        raise JgptError(f"{error}. Install the extra: pip install 'jgpt-dagster[cluster]'") from error
    count = processes or (1 if "gpu" in queues else settings.workers)
    name = name or f"{'-'.join(queues)}-{os.getpid()}"
    worker_app(open_instance()).worker_main(
        [
            "worker",
            "--queues",
            ",".join(queues),
            "--concurrency",
            str(count),
            "--hostname",
            f"{name}@%h",
            "--loglevel",
            "INFO",
            "--without-gossip",
            "--without-mingle",
        ]
    )
