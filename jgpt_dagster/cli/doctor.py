"""`jgpt doctor`: what a run will need of this machine, its settings and the mirror, looked at before it needs it."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

import click

from jgpt_dagster.causes import cause_of
from jgpt_dagster.cli.terminal import byte_words, say_marked
from jgpt_dagster.errors import JgptError
from jgpt_dagster.settings import Settings, load_settings

State = Literal["ok", "note", "fail"]
_COLOURS: Mapping[State, str] = {"ok": "green", "note": "yellow", "fail": "red"}

# What tests, containers and this package's own processes read, beside the settings.
_OTHER_VARIABLES = ("JGPT_LAUNCH", "JGPT_TEST_DATA", "JGPT_TEST_OFFLOAD", "JGPT_TEST_XL")
# Below this, no data root of a real wiki fits.
_SMALL_DISK = 20e9
_SMALL_MEMORY = 4e9
_UI_PORT = 3000


class Finding(NamedTuple):
    """What a look found: `fail` stops a run, a `note` may matter."""

    state: State
    subject: str
    words: str


@click.command()
def doctor() -> None:
    """Look at what a run needs: settings, files, mirror, disk, memory, compilers, GPUs, segmenter, ports.

    Changes nothing. Ends with exit code 1 if something would stop a run.
    """
    settings = load_settings()
    failed = False
    for look in (_settings, _files, _mirror, _disks, _machine, _compilers, _gpus, _segmenter, _port):
        for finding in _told(look, settings):
            say_marked(finding.state, _COLOURS[finding.state], f"{finding.subject:<10} {finding.words}")
            failed |= finding.state == "fail"
    if failed:
        raise SystemExit(1)


def _told(look: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    """Yield what a look finds; an error that a person can mend is a finding."""
    try:
        yield from look(settings)
    except Exception as error:
        cause = cause_of(error)
        if cause is None:
            raise
        yield Finding("fail", look.__name__.removeprefix("_"), cause)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables that are no setting and look like one, each with the most similar setting, if any."""
    known = [f"JGPT_{name.upper()}" for name in Settings.model_fields]
    for name in sorted(environment):
        if name.upper() in known or name.upper() in _OTHER_VARIABLES:
            continue
        ours = name.upper().startswith("JGPT")
        similar = get_close_matches(name.upper(), known, n=1, cutoff=0.75 if ours else 0.85)
        if ours or similar:
            yield name, similar[0] if similar else ""


def _settings(settings: Settings) -> Iterator[Finding]:
    for name, similar in unknown_variables(os.environ):
        yield Finding("note", "settings", f"{name} is no setting" + (f"; {similar} is" if similar else ""))
    settings.root.check_pinned_settings(settings.fixed)
    names = sorted(name for name in settings.model_fields_set)
    yield Finding("ok", "settings", ", ".join(f"JGPT_{name.upper()}" for name in names) or "all defaults")
    if not settings.contact and settings.dumps_url.startswith("http"):
        yield Finding("note", "contact", "JGPT_CONTACT is not set: Wikimedia blocks clients that give no contact")


def _files(settings: Settings) -> Iterator[Finding]:
    from jgpt_dagster.corpus.web.text_folder import TextFolderError, folder_fingerprint

    for name, folder in settings.folders.items():
        try:
            folder_fingerprint(folder)
        except TextFolderError as error:
            yield Finding("fail", "folder", f"{name}: {error}")
        else:
            yield Finding("ok", "folder", f"{name} reads {folder}")
    named = {"JGPT_RUN_CONFIG": settings.run_config, "JGPT_HOSTFILE": settings.hostfile, "JGPT_TASKS": settings.tasks}
    for variable, path in named.items():
        if path is not None and not path.exists():
            yield Finding("fail", "file", f"{variable}={path} is not there")


def _mirror(settings: Settings) -> Iterator[Finding]:
    from jgpt_dagster.corpus.fetch.dumps_mirror import DumpMirror

    mirror = DumpMirror(settings.dumps_url, settings.wiki)
    yield Finding("ok", "mirror", f"{mirror.url}/: the newest finished dump is {mirror.newest()}")


def _disks(settings: Settings) -> Iterator[Finding]:
    places = {"JGPT_DATA": settings.root.path, "JGPT_SCRATCH": settings.scratch_directory}
    seen = set[int]()
    for variable, place in places.items():
        existing = _existing(place)
        if not os.access(existing, os.W_OK | os.X_OK):
            yield Finding("fail", "disk", f"{variable}={place} cannot be written: {existing} is not writable")
        elif existing.stat().st_dev not in seen:
            seen.add(existing.stat().st_dev)
            free = shutil.disk_usage(existing).free
            state: State = "note" if free < _SMALL_DISK else "ok"
            yield Finding(state, "disk", f"{byte_words(free)} free at {variable}={place} (docs/first-run.md estimates)")


def _machine(settings: Settings) -> Iterator[Finding]:
    from jgpt_dagster.runtime.resource_limits import available_cores, available_memory

    memory, cores = available_memory(), available_cores()
    state: State = "note" if memory < _SMALL_MEMORY else "ok"
    yield Finding(state, "memory", f"{byte_words(memory)}, {cores} cores, JGPT_WORKERS={settings.workers}")
    if settings.workers > cores:
        yield Finding(
            "note", "workers", f"JGPT_WORKERS={settings.workers} is more than the {cores} cores of this process"
        )


def _compilers(settings: Settings) -> Iterator[Finding]:
    found = {name: shutil.which(name) for name in ("c++", "ninja", "nvcc")}
    present = ", ".join(name for name, path in found.items() if path) or "none"
    if found["c++"]:
        yield Finding("ok", "compilers", present)
    else:
        yield Finding("note", "compilers", f"{present}; without c++, training cannot offload to the CPU")


def _gpus(settings: Settings) -> Iterator[Finding]:
    from jgpt_dagster.lm.planning.hardware import detect_hardware

    hardware = detect_hardware(max(1, settings.processes), 1)
    if hardware.device.gpu:
        from jgpt_dagster.lm.launch.gpus import gpu_count

        yield Finding("ok", "GPUs", f"{gpu_count()} x {hardware.device.name}")
    else:
        state: State = "ok" if settings.model == "tiny" else "note"
        yield Finding(state, "GPUs", f"none; JGPT_MODEL={settings.model} trains on the CPU")


def _segmenter(settings: Settings) -> Iterator[Finding]:
    from jgpt_dagster.assets.tokenizer import require_tokenizer_engine
    from jgpt_dagster.corpus.segmenters import open_segmenter, segmenter_names

    with open_segmenter(settings.segmenter) as engine:
        require_tokenizer_engine(settings.catalog.tokenizer, settings.segmenter, engine.fingerprint)
        yield Finding(
            "ok", "segmenter", f"{settings.segmenter}, {engine.fingerprint[:48]}; of {', '.join(segmenter_names())}"
        )


def _port(settings: Settings) -> Iterator[Finding]:
    from jgpt_dagster.cli.ui import require_free

    try:
        require_free("127.0.0.1", _UI_PORT)
    except JgptError as error:
        yield Finding("note", "UI port", str(error))
    else:
        yield Finding("ok", "UI port", f"{_UI_PORT} is free for `jgpt ui`")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
