"""A checkpoint is loaded only if this user's training has written it: its pickles run whatever code is in them."""

import json
import os
import pickle
import shutil
import stat
from pathlib import Path

import pytest

from jgpt_dagster.lm.training import sign_checkpoints
from jgpt_dagster.lm.training.checkpoint import CheckpointError, find_resumable
from jgpt_dagster.lm.training.checkpoint_compatibility import checkpoint_recipe
from jgpt_dagster.lm.training.checkpoint_trust import UntrustedError, require_own_scratch, signed, signing_key
from jgpt_dagster.storage.directory_artifact import MANIFEST
from jgpt_dagster.storage.manifest import FileEntry, Manifest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a run under the data root `tmp_path`, with one signed checkpoint."""
    path = tmp_path / "run"
    put_checkpoint(path, 4, key=signing_key(tmp_path))
    return path


def put_checkpoint(run: Path, step: int, key: bytes | None, content: bytes = b"state") -> Path:
    """Write a checkpoint whose manifest matches, signed with a key or, as earlier versions wrote it, not at all."""
    path = run / "checkpoints" / f"step={step:08d}"
    (path / "engine").mkdir(parents=True)
    (path / "engine" / "states.pt").write_bytes(content)
    files = {"engine/states.pt": FileEntry.of(path / "engine" / "states.pt")}
    manifest = Manifest(checkpoint_recipe({}, {}), {"step": step, "samples": 8 * step}, files)
    (path / MANIFEST).write_text(json.dumps(manifest.to_dict() if key is None else signed(manifest, key)))
    return path


def usable_step(run: Path) -> int | None:
    """Return the step that a run would resume from; None if it refuses."""
    try:
        found = find_resumable(run / "checkpoints", run.parent, lambda line: None)
    except CheckpointError:
        return None
    return found.step if found else 0


def test_the_key_is_made_once_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    key = signing_key(tmp_path)
    assert len(key) == 32 and signing_key(tmp_path) == key
    (path,) = (tmp_path / ".keys").glob("*.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.name == f"checkpoints-{os.geteuid()}.key"


@pytest.mark.parametrize("fault", ["readable", "link", "cut", "theirs"])
def test_a_key_that_others_may_know_is_refused_with_the_command_that_mends_it(tmp_path: Path, fault: str) -> None:
    signing_key(tmp_path)
    (path,) = (tmp_path / ".keys").glob("*.key")
    if fault == "readable":
        path.chmod(0o640)
    elif fault == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif fault == "cut":
        path.write_text("ab")
    elif os.geteuid() == 0:
        os.chown(path, 12_345, -1)
    else:
        pytest.skip("only root gives files away")
    with pytest.raises(UntrustedError, match=r"key of the checkpoints, cannot be trusted: .*chmod 600"):
        signing_key(tmp_path)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.victim,)


def test_a_forged_checkpoint_with_a_matching_manifest_is_not_used(run: Path) -> None:
    put_checkpoint(run, 8, key=None, content=pickle.dumps(Payload(run / "ran")))
    put_checkpoint(run, 9, key=bytes(32), content=pickle.dumps(Payload(run / "ran")))
    assert usable_step(run) == 4
    shutil.rmtree(run / "checkpoints" / "step=00000004")
    with pytest.raises(CheckpointError, match=r"(?s)signed with another key.*from scratch"):
        find_resumable(run / "checkpoints", run.parent, lambda line: None)
    assert not (run / "ran").exists()


@pytest.mark.parametrize("where", ["recipe", "counts", "files", "added file", "link", "repeated name"])
def test_a_signed_checkpoint_that_was_changed_anywhere_is_not_used(run: Path, where: str) -> None:
    path = run / "checkpoints" / "step=00000004"
    assert usable_step(run) == 4
    values = json.loads((path / MANIFEST).read_text())
    states = path / "engine" / "states.pt"
    if where == "recipe":
        values["recipe"]["settings"] = {"seed": 1}
    elif where == "counts":
        values["counts"]["step"] = 5
    elif where == "files":
        states.write_bytes(b"other")
        values["files"]["engine/states.pt"]["sha256"] = FileEntry.of(states).sha256
    elif where == "added file":
        (path / "engine" / "zero_pp_rank_9_mp_rank_00_optim_states.pt").write_bytes(b"a pickle")
    elif where == "link":
        states.rename(run / "elsewhere")
        states.symlink_to(run / "elsewhere")
    text = json.dumps(values)
    if where == "repeated name":
        text = '{"counts": {"step": 5, "samples": 0}, ' + text[1:]
    (path / MANIFEST).write_text(text)
    assert usable_step(run) is None


def test_an_unsigned_checkpoint_is_named_with_the_command_that_accepts_it_and_that_command_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "a run"
    put_checkpoint(run, 4, key=None)
    with pytest.raises(CheckpointError) as error:
        find_resumable(run / "checkpoints", tmp_path, lambda line: None)
    assert f"python -m jgpt_dagster.lm.training.sign_checkpoints {tmp_path} '{run}'" in str(error.value)
    assert sign_checkpoints.main([str(tmp_path), str(run)]) == 0
    assert "step=00000004" in capsys.readouterr().out
    assert usable_step(run) == 4


def test_a_damaged_checkpoint_is_not_signed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "checkpoints" / "step=00000004" / "engine" / "states.pt").write_bytes(b"other")
    assert sign_checkpoints.main([str(run.parent), str(run)]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_scratch_that_others_can_write_to_is_refused_unless_it_is_allowed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JGPT_SHARED_SCRATCH", raising=False)
    (run / "checkpoints").chmod(0o777)
    with pytest.raises(UntrustedError, match=r"written to by everybody .*chmod go-w.*JGPT_SHARED_SCRATCH=1"):
        usable_step(run)
    with pytest.raises(UntrustedError):
        sign_checkpoints.sign_checkpoints(run.parent, run / "checkpoints" / "step=00000004")
    monkeypatch.setenv("JGPT_SHARED_SCRATCH", "1")
    assert usable_step(run) == 4
    require_own_scratch(run / "checkpoints")
