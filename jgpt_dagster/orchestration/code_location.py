"""The code location of runs that are made outside it: Dagster's timeline and its failure sensors ask for it."""

from functools import partial

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

# That of `jgpt ui`, which gives Dagster this package as a module.
_OWN_LOCATION = "jgpt_dagster.definitions"
_REPOSITORY = "__repository__"


def runs_of_code_location(instance: dg.DagsterInstance, job: str) -> dg.DagsterInstance:
    """Return the instance, which from now on records the runs of a job as those of its code location.

    Dagster executes a job in a process without saying where it comes from, and shows such runs in the list of runs
    alone.
    """
    location = RegisteredCodeLocationOrigin(_location_name(instance))
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, _REPOSITORY), job)
    create = partial(instance.create_run_for_job, remote_job_origin=origin)
    setattr(instance, "create_run_for_job", create)  # noqa: B010  # there is no argument for it
    return instance


def _location_name(instance: dg.DagsterInstance) -> str:
    """Return the name under which the instance's daemon has loaded the package, which a workspace.yaml decides."""
    states = instance.all_instigator_state() if instance.schedule_storage else []
    origins = [state.origin.repository_origin for state in states]
    names = [origin.code_location_origin.location_name for origin in origins if origin.repository_name == _REPOSITORY]
    return _OWN_LOCATION if _OWN_LOCATION in names else next(iter(names), _OWN_LOCATION)
