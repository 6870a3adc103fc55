"""`jgpt verify` and `jgpt sign`: whether a release and its data root are what they say, and who says so."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError

if TYPE_CHECKING:
    from jgpt_dagster.provenance.statement import Statement
    from jgpt_dagster.storage.data_root import DataRoot

_SHOWN = 50
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("release", required=False, type=_DIRECTORY)
@click.option("--key", type=_FILE, help="Public key, in PEM, of whoever must have signed the release.")
@click.option(
    "--certificate", "certificates", type=_FILE, multiple=True, help="Certificate that vouches for a signer's."
)
@click.option("--root", "root_path", type=_DIRECTORY, help="Data root whose files are hashed too.")
@click.option("--recompute", type=click.IntRange(min=1), help="Derive this many random documents again (needs --root).")
@click.option("--replay", is_flag=True, help="Repeat the steps between two kept checkpoints (needs --root).")
@click.option("--exclusions", is_flag=True, help="Look for what is excluded in the corpora (needs --root).")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the documents drawn.")
def verify(
    release: Path | None,
    key: Path | None,
    certificates: tuple[Path, ...],
    root_path: Path | None,
    recompute: int | None,
    replay: bool,
    exclusions: bool,
    seed: int,
) -> None:
    """Check RELEASE, a directory: its signature, every file, and the chain of hashes from the sources to the weights.

    With --root, every output and checkpoint of a data root is hashed as well. The command ends with 1 if anything is
    not as it was recorded.
    """
    if release is None and root_path is None:
        raise click.UsageError("Give the directory of a release, --root, or both.")
    if exclusions and root_path is None:
        raise click.UsageError("--exclusions needs the --root with the list.")
    if (recompute or replay) and (root_path is None or release is None):
        raise click.UsageError("--recompute and --replay need a release and the --root that it was made in.")
    faults = 0
    statement = None
    if release is not None:
        found, statement = _verify_release(release, key, certificates)
        faults += found
    if root_path is not None:
        from jgpt_dagster.storage.data_root import DataRoot

        root = DataRoot(root_path)
        faults += _verify_root(root)
        if exclusions:
            from jgpt_dagster.cli.exclude import report

            faults += report(root, _scratch(root))
        if recompute or replay:
            if statement is None:
                raise JgptError(f"{release} carries no provenance.json, so it does not say which text was trained on.")
            faults += _recompute(root, statement, recompute, seed) if recompute else 0
            faults += _replay(root, statement) if replay else 0
    if faults:
        raise JgptError(f"{faults:,} {'fault was' if faults == 1 else 'faults were'} found.")
    say("verified")


@click.command()
@click.argument("release", type=_DIRECTORY)
@click.option("--key", required=True, type=_FILE, help="Private elliptic-curve key, in PEM.")
@click.option("--certificate", type=_FILE, help="Certificate of the key.")
@click.option("--chain", type=_FILE, multiple=True, help="Certificate between that one and its root.")
def sign(release: Path, key: Path, certificate: Path | None, chain: tuple[Path, ...]) -> None:
    """Sign RELEASE, a directory, with a key or a certificate; the signature, model.sig, lies in it."""
    from jgpt_dagster.provenance.signature import sign as sign_directory
    from jgpt_dagster.provenance.verify_release import verify_release

    report = verify_release(release)
    if report.findings:
        raise JgptError("\n".join(finding.line() for finding in report.findings) + "\nNothing was signed.")
    say(f"signed: {sign_directory(release, key, certificate, chain)}")


def _verify_release(release: Path, key: Path | None, certificates: tuple[Path, ...]) -> tuple[int, "Statement | None"]:
    from jgpt_dagster.provenance.signature import SignatureError, Verifier, check_signature, is_signed
    from jgpt_dagster.provenance.verify_release import verify_release

    faults, verifier = 0, Verifier(key, certificates)
    with _bar(_size_of(release), "release") as on_read:
        report = verify_release(release, on_read)
    _say_lines(report.lines())
    faults += sum(finding.is_fault for finding in report.findings)
    expected = key is not None or certificates
    if not is_signed(release):
        say("  not signed: the hashes agree with each other, but nobody vouches for them")
        faults += 1 if expected else 0
    elif not expected:
        say("  signed, but not checked: give the signer's --key or --certificate")
    else:
        try:
            check_signature(release, verifier)
            say(f"  signed with {key or ', '.join(map(str, certificates))}")
        except SignatureError as error:
            say(f"  {error}")
            faults += 1
    return faults, report.statement


def _verify_root(root: "DataRoot") -> int:
    from jgpt_dagster.provenance.verify_root import bytes_to_hash, verify_root

    scratch = _scratch(root)
    size = bytes_to_hash(root, scratch)
    with _bar(size, "data root") as on_read:
        findings = list(verify_root(root, scratch, on_read, mark=True))
    say(f"{root.path}: {size / 1e6:,.1f} MB hashed")
    _say_lines(f"  {finding.line()}" for finding in findings)
    return sum(finding.is_fault for finding in findings)


def _recompute(root: "DataRoot", statement: "Statement", count: int, seed: int) -> int:
    from jgpt_dagster.provenance.recompute import recompute
    from jgpt_dagster.settings import load_settings

    results = list(recompute(root, statement.chain, count, seed, load_settings().folders))
    wrong = [result for result in results if not result.same]
    say(f"{len(results) - len(wrong):,} of {len(results):,} documents come out of the sources with the same token ids")
    _say_lines(f"  damaged: {result.label}: document {result.key}: {result.problem}" for result in wrong)
    return len(wrong)


def _replay(root: "DataRoot", statement: "Statement") -> int:
    from jgpt_dagster.provenance.replay import replay, trained_on

    dump, training_set = trained_on(statement)
    with TemporaryDirectory(prefix="jgpt-replay-") as work:
        found = replay(root, _scratch(root), dump, statement.model or "", training_set, Path(work))
    say(
        f"steps {found.first + 1:,} to {found.last:,} were repeated: {found.files - len(found.differing)} of "
        f"{found.files} files of the checkpoint have the same bytes"
    )
    _say_lines(f"  damaged: {name} came out otherwise" for name in found.differing)
    return len(found.differing)


def _scratch(root: "DataRoot") -> Path:
    return Path(os.environ.get("JGPT_SCRATCH") or root.path / ".scratch")


def _size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _say_lines(lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if number == _SHOWN:
            say("  and more")
            return
        say(line)


@contextmanager
def _bar(total: int, label: str) -> Iterator[Callable[[int], None]]:
    with tqdm(total=total, desc=label, unit="B", unit_scale=True, leave=False, disable=None) as bar:
        yield lambda size: bar.update(size) and None
