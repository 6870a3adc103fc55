"""A release is verified with nothing but its directory, and whatever is changed in it is found and named."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jgpt_dagster.lm.training.checkpoint_trust import read_unsigned_manifest
from jgpt_dagster.provenance.signature import SignatureError, Verifier, check_signature, is_signed, sign
from jgpt_dagster.provenance.statement import PROVENANCE, StatementError, read_statement
from jgpt_dagster.provenance.verify_release import verify_release
from jgpt_dagster.storage.manifest import FileEntry
from jgpt_dagster.storage.sealed_json import read_sealed_json, write_sealed_json
from jgpt_dagster_tests.support.deployments import DUMP, Deployment

RUN = f".scratch/pretrained_model/dump={DUMP}/model=tiny"


@pytest.fixture
def release(finished: Deployment, tmp_path: Path) -> Path:
    """A copy of a release, which may be changed, without the data root that it was made in."""
    source = finished.root.directory("release", DUMP, model="tiny").path
    return Path(shutil.copytree(source, tmp_path / "release"))


def problems(release: Path) -> list[str]:
    return [finding.line() for finding in verify_release(release).findings]


def test_the_chain_of_a_release_leads_from_what_publishers_gave_to_its_weights(
    finished: Deployment, release: Path
) -> None:
    report = verify_release(release)
    assert (report.findings, report.gaps) == ([], [])
    assert report.statement is not None
    labels = {step.label for step in report.statement.chain.steps}
    assert {"cc100_dump", f"wikipedia_dump {DUMP}", f"wikipedia_tokens {DUMP}|001", "tokenizer"} <= labels
    assert {f"training_set {DUMP}", f"pretrained_model {DUMP}|tiny", f"evaluation {DUMP}|tiny"} <= labels
    links = [label for step in report.statement.chain.steps for label in step.manifest.recipe.inputs]
    assert report.links == len(links) + len(report.statement.recipe.inputs)
    text = "\n".join(report.lines())
    for entry in finished.root.directory("wikipedia_dump", DUMP).verified().counts["sha1"].values():
        assert f"sha1 {entry}" in text
    assert str(finished.data.parent) not in (release / PROVENANCE).read_text()
    (checkpoint,) = (finished.data / RUN / "checkpoints").glob("step=00000008")
    data = read_unsigned_manifest(checkpoint).data_sha256
    assert f"weights of pretrained_model {DUMP}|tiny: checkpoint 8, sha256 {data}" in text


def test_the_statement_has_the_form_that_others_read(release: Path) -> None:
    statement_class = pytest.importorskip("in_toto_attestation.v1.statement").Statement
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2

    value = json.loads((release / PROVENANCE).read_text())
    statement_class.copy_from_pb(json_format.ParseDict(value, statement_pb2.Statement())).validate()
    predicate = json_format.ParseDict(value["predicate"], provenance_pb2.Provenance())
    assert predicate.build_definition.build_type == "urn:jgpt-dagster:pretraining:v1"
    manifest = read_sealed_json((release / "manifest.json").read_bytes())
    assert {subject["name"] for subject in value["subject"]} == manifest["files"].keys() - {PROVENANCE}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def write_below(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        f"a flipped bit in {name}": (lambda path, name=name: flip(path / name), name)  # type: ignore[misc]
        for name in ("model.safetensors", "config.json", "README.md", PROVENANCE, "manifest.json", "run.json")
    },
    "a truncated file": (
        lambda path: (path / "tokenizer.json").write_bytes((path / "tokenizer.json").read_bytes()[:-1]),
        "tokenizer.json has",
    ),
    "a renamed file": (lambda path: (path / "config.json").rename(path / "config2.json"), "config2.json is not listed"),
    "an added file": (lambda path: (path / "modeling.py").write_text("evil"), "modeling.py is not listed"),
    "an added hidden folder": (
        lambda path: write_below(path / ".git" / "config"),
        "config is not listed",
    ),
    "a link": (lambda path: (path / "link").symlink_to("/etc"), "link is a link"),
    "swapped files": (
        lambda path: (
            (path / "README.md").rename(path / "x"),
            (path / "config.json").rename(path / "README.md"),
            (path / "x").rename(path / "config.json"),
        ),
        "README.md has",
    ),
    "no manifest": (lambda path: (path / "manifest.json").unlink(), "manifest.json is missing"),
}


@pytest.mark.parametrize(("damage", "named"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_changed_is_named(release: Path, damage: Callable[[Path], object], named: str) -> None:
    damage(release)
    found = problems(release)
    assert found and any(named in line for line in found), found


def forge(release: Path, name: str, content: bytes) -> None:
    """Replace a file together with its hash in the manifest, and with the manifest's seal."""
    (release / name).write_bytes(content)
    manifest = read_sealed_json((release / "manifest.json").read_bytes())
    entry = FileEntry.of(release / name)
    manifest["files"][name] = {"size": entry.size, "sha256": entry.sha256}
    write_sealed_json(release / "manifest.json", manifest)


def test_exchanged_weights_do_not_follow_from_the_chain(release: Path) -> None:
    forge(release, "model.safetensors", b"other weights")
    assert any("model.safetensors is another file than the one that it speaks of" in line for line in problems(release))
    statement = json.loads((release / PROVENANCE).read_text())
    for subject in statement["subject"]:
        if subject["name"] == "model.safetensors":
            subject["digest"]["sha256"] = FileEntry.of(release / "model.safetensors").sha256
    forge(release, PROVENANCE, json.dumps(statement).encode())
    found = problems(release)
    assert len(found) == 1 and "model.safetensors has other bytes than model/model.safetensors" in found[0]


@pytest.mark.parametrize("change", ["file", "input", "shards"])
def test_a_forged_step_breaks_the_chain(release: Path, change: str) -> None:
    statement = json.loads((release / PROVENANCE).read_text())
    steps = {step["name"]: step for step in statement["predicate"]["buildDefinition"]["internalParameters"]["steps"]}
    if change == "file":
        steps["tokenizer"]["files"]["tokenizer.json"]["sha256"] = "0" * 64
    elif change == "input":
        steps[f"training_set {DUMP}"]["recipe"]["inputs"]["cc100_tokens 000"] = "0" * 64
    else:
        dump = steps[f"wikipedia_dump {DUMP}"]
        dump["contents"]["shards.json"] = dump["contents"]["shards.json"].replace('"offset"', '"ofset"')
    forge(release, PROVENANCE, json.dumps(statement).encode())
    report = verify_release(release)
    told = [*report.gaps, *problems(release)]
    assert any(
        {"file": "does not follow from those of its files", "input": "which is not carried", "shards": "shards.json"}[
            change
        ]
        in line
        for line in told
    ), told


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"_type": "https://in-toto.io/Statement/v1"}'])
def test_a_file_that_is_no_statement_is_refused(text: str) -> None:
    with pytest.raises(StatementError, match=PROVENANCE):
        read_statement(text.encode())


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with two pairs of keys, and a certificate of the first that a root vouches for."""
    pytest.importorskip("model_signing.signing")
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("own", "other", "root"):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / f"{name}.pem")
        openssl("ec", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub")
    request = (
        "req",
        "-x509",
        "-key",
        folder / "root.pem",
        "-subj",
        "/CN=root",
        "-days",
        "9",
        "-out",
        folder / "root.crt",
    )
    openssl(*request, "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-new", "-key", folder / "own.pem", "-subj", "/CN=signer", "-out", folder / "own.csr")
    (folder / "use").write_text("keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n")
    sign_request = (
        "x509",
        "-req",
        "-in",
        folder / "own.csr",
        "-CA",
        folder / "root.crt",
        "-CAkey",
        folder / "root.pem",
    )
    openssl(*sign_request, "-days", "9", "-extfile", folder / "use", "-out", folder / "own.crt")
    return folder


def test_a_signature_with_a_key_holds_until_anything_changes(release: Path, keys: Path) -> None:
    assert not is_signed(release)
    sign(release, keys / "own.pem")
    assert problems(release) == []
    own = Verifier(keys / "own.pub")
    check_signature(release, own)
    with pytest.raises(SignatureError, match="does not hold"):
        check_signature(release, Verifier(keys / "other.pub"))
    (release / "run.json").unlink()  # belongs to the machine
    check_signature(release, own)
    forge(release, "README.md", b"another card")
    with pytest.raises(SignatureError, match="does not hold"):
        check_signature(release, own)


def test_a_signature_with_a_certificate_holds(release: Path, keys: Path) -> None:
    sign(release, keys / "own.pem", keys / "own.crt", [keys / "root.crt"])
    check_signature(release, Verifier(certificates=(keys / "root.crt",)))
    flip(release / "model.sig")
    with pytest.raises(SignatureError, match="does not hold"):
        check_signature(release, Verifier(certificates=(keys / "root.crt",)))


def test_the_command_says_plainly_that_nobody_has_signed(finished: Deployment, release: Path, keys: Path) -> None:
    output = finished.invoke("verify", release)
    assert "not signed: the hashes agree with each other, but nobody vouches for them" in output
    refused = finished.try_invoke("verify", release, "--key", keys / "own.pub")
    assert refused.code == 1 and "1 fault was found" in refused.output
    finished.invoke("sign", release, "--key", keys / "own.pem")
    assert "signed with" in finished.invoke("verify", release, "--key", keys / "own.pub")
    assert "signed, but not checked" in finished.invoke("verify", release)
    flip(release / "model.safetensors")
    refused = finished.try_invoke("verify", release, "--key", keys / "own.pub")
    assert refused.code == 1 and "model.safetensors has sha256" in refused.output
    assert "Nothing was signed" in finished.try_invoke("sign", release, "--key", keys / "own.pem").output


def test_a_published_copy_is_verified_with_its_signature(finished: Deployment, keys: Path, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "data")
    release = copy.root.directory("release", DUMP, model="tiny").path
    copy.invoke("sign", release, "--key", keys / "own.pem")
    copy.invoke("publish", "--to", tmp_path / "published")
    (tmp_path / "published" / ".gitattributes").write_text("*.safetensors filter=lfs\n")  # as model hubs add it
    assert "signed with" in copy.invoke("verify", tmp_path / "published", "--key", keys / "own.pub")
