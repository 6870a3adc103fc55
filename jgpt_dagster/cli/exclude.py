"""`jgpt exclude`: the list of what is taken out of the corpora."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from jgpt_dagster.cli.deployment import open_deployment
from jgpt_dagster.cli.terminal import say
from jgpt_dagster.errors import JgptError

if TYPE_CHECKING:
    from jgpt_dagster.corpus.exclusions.exclusion_list import Exclusion, Kind
    from jgpt_dagster.settings import Settings
    from jgpt_dagster.storage.data_root import DataRoot

_SHOWN = 20


@click.group()
def exclude() -> None:
    """Take pages, documents and passages out of the corpora, and show who has had them.

    The list is a file of the data root. `jgpt run` applies it: it takes documents out of the shards that have them, and
    touches no other.
    """


@exclude.command()
@click.option("--page", "pages", multiple=True, metavar="ID", help="A page of the wiki, by its page id.")
@click.option("--title", "titles", multiple=True, help="The page of the wiki with this title.")
@click.option("--document", "documents", multiple=True, metavar="CORPUS:ID", help="A document, such as cc100:17.")
@click.option(
    "--url", "urls", multiple=True, help="Documents of a folder with this URL (`…*`: that begin so), or a page."
)
@click.option("--phrase", "phrases", multiple=True, help="All documents that hold this, in their normalised text.")
@click.option(
    "--phrases-from",
    "phrase_files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Phrases of a file, one a line; or the items of a file or folder of evaluation tasks.",
)
@click.option(
    "--min-characters",
    default=12,
    show_default=True,
    type=click.IntRange(1),
    help="Leave out what is shorter in a file of phrases.",
)
@click.option("--reason", required=True, help="Why, for the list and the receipt.")
@click.option("--dry-run", is_flag=True, help="Show what would be taken out, and write nothing.")
def add(
    pages: tuple[str, ...],
    titles: tuple[str, ...],
    documents: tuple[str, ...],
    urls: tuple[str, ...],
    phrases: tuple[str, ...],
    phrase_files: tuple[Path, ...],
    min_characters: int,
    reason: str,
    dry_run: bool,
) -> None:
    """Put entries on the list, after a receipt that says what they take out, and who has had it.

    The receipt names documents, near copies, token files, steps of training, checkpoints and releases.
    """
    settings = open_deployment()
    from jgpt_dagster.corpus.exclusions.exclusion_list import read_list, write_list
    from jgpt_dagster.provenance.takedown import take_receipt, write_receipt

    values: list[tuple[Kind, str]] = [
        *(("page", value) for value in pages),
        *(("title", value) for value in titles),
        *(("document", value) for value in documents),
        *(_page_or_url(settings.root, value) for value in urls),
        *(("phrase", value) for value in (*phrases, *_phrases_of(phrase_files, min_characters))),
    ]
    if not values:
        raise click.UsageError("Give a --page, --title, --document, --url, --phrase or --phrases-from.")
    _require_searchable(settings, values)
    root = settings.root
    with _locked(root):
        before = read_list(root.location)
        after = before.with_added(values, reason, _today())
        new = after.entries[len(before.entries) :]
        if not new:
            say("the list has all of it already")
            return
        _require_known_corpora(settings, new)
        receipt = take_receipt(root, settings.scratch_directory, after, new)
        _say(_summary(receipt, new))
        if dry_run:
            say("nothing was written")
            return
        _, page = write_receipt(root, receipt, after)
        write_list(root, after)
    say(f"receipt: {page}")
    _say(_next_steps(root))


@exclude.command("list")
@click.option("--all", "withdrawn", is_flag=True, help="Show entries that were removed, too.")
def show(withdrawn: bool) -> None:
    """Show the list."""
    settings = open_deployment()
    from jgpt_dagster.corpus.exclusions.exclusion_list import read_list

    exclusions = read_list(settings.root.location)
    for entry in exclusions.entries if withdrawn else exclusions.active:
        removed = f", removed {entry.withdrawn}" if entry.withdrawn else ""
        say(f"{entry.name}  ({entry.added}{removed}: {entry.reason})")
    if not exclusions.active:
        say("nothing is excluded")


@exclude.command()
@click.argument("numbers", nargs=-1, required=True, type=int, metavar="NUMBER…")
def remove(numbers: tuple[int, ...]) -> None:
    """Let entries count no more: the next `jgpt run` makes the shards again that were made without their documents."""
    settings = open_deployment()
    from jgpt_dagster.corpus.exclusions.exclusion_list import read_list, write_list
    from jgpt_dagster.corpus.exclusions.screen import exclusions_of
    from jgpt_dagster.provenance.excluded_documents import texts_of

    root = settings.root
    with _locked(root):
        exclusions = read_list(root.location).with_withdrawn(numbers, _today())
        write_list(root, exclusions)
    ids = {entry.id for entry in exclusions.entries if entry.number in numbers}
    stale = [shard.label for _, shard, manifest in texts_of(root) if ids & {*exclusions_of(manifest.recipe)}]
    say(f"removed; stale from now on: {', '.join(stale) or 'nothing'}")


@exclude.command()
def check() -> None:
    """Look for what is excluded in corpora, tokens and indexes, and list what still holds it.

    Ends with 1 if the newest dump, or a corpus without dumps, holds anything.
    """
    settings = open_deployment()
    if found := report(settings.root, settings.scratch_directory):
        raise JgptError(f"{found:,} outputs above hold what is excluded, or are not sure to. `jgpt run` takes it out.")


def report(root: "DataRoot", scratch: Path) -> int:
    """Print what corpora, tokens and indexes hold of what is excluded, and what else does; return how many."""
    from jgpt_dagster.corpus.exclusions.exclusion_list import read_list
    from jgpt_dagster.provenance.excluded_documents import remembered_keys
    from jgpt_dagster.provenance.exposure import exposed_models, token_files_with
    from jgpt_dagster.provenance.still_held import still_held
    from jgpt_dagster.provenance.verify_exclusions import count_excluded

    exclusions = read_list(root.location)
    say(f"entries on the exclusion list: {len(exclusions.active):,}")
    if not exclusions.active:
        return 0
    counts = count_excluded(root, exclusions)
    _say(f"  {count.line()}" for count in counts)
    keys = remembered_keys(root, exclusions)
    tokens, models = list(token_files_with(root, keys)), exposed_models(root, scratch, keys)
    holders = list(still_held(root, exclusions, tokens, models))
    say("still held by:" if holders else "nothing else holds any of it")
    _say(f"  {holder.kind} {holder.name}: {holder.why}" for holder in holders)
    return sum(not count.clean for count in counts)


def _page_or_url(root: "DataRoot", url: str) -> "tuple[Kind, str]":
    """Return the entry that a URL stands for: the title of a page, if it is an address of the wiki."""
    from jgpt_dagster.corpus.exclusions.exclusion_list import WIKI
    from jgpt_dagster.provenance.sources import Sources

    dumps = root.dumps(f"{WIKI}_dump")
    site = Sources(root, root).site(WIKI, dumps[-1]) if dumps else ""
    address = f"{site}/wiki/"
    if not (site and url.startswith(address)):
        return "url", url
    # No title has a `#`: what follows one is a section.
    return "title", unquote(url.removeprefix(address).partition("#")[0])


def _phrases_of(files: Sequence[Path], minimum: int) -> list[str]:
    """Return the phrases of files that are long enough, and say how many are not."""
    from jgpt_dagster.lm.evaluation.item_phrases import read_phrases

    found = []
    for path in files:
        phrases = read_phrases(path)
        long_enough = [phrase for phrase in phrases if len(phrase) >= minimum]
        say(f"{path}: {len(long_enough):,} phrases, {len(phrases) - len(long_enough):,} shorter ones left out")
        found += long_enough
    return found


def _require_known_corpora(settings: "Settings", new: "Sequence[Exclusion]") -> None:
    """Raise JgptError for a document of a corpus that neither the settings nor the data root have."""
    from jgpt_dagster.provenance.excluded_documents import texts_of

    wanted = {entry.value.rpartition(":")[0] for entry in new if entry.kind == "document"}
    known = {corpus.name for corpus in settings.corpora}
    if unknown := wanted - known:
        unknown -= {corpus for corpus, *_ in texts_of(settings.root)}
    if unknown:
        there_are = ", ".join(sorted(known))
        raise JgptError(f"There is no corpus {', '.join(sorted(unknown))}. The corpora are: {there_are}.")


def _require_searchable(settings: "Settings", values: "Sequence[tuple[Kind, str]]") -> None:
    """Raise JgptError for a phrase of which normalisation leaves nothing."""
    from jgpt_dagster.corpus.exclusions.searched_text import searched_phrase

    for kind, value in values:
        if kind == "phrase" and not searched_phrase(value, settings.text):
            raise JgptError(f"Normalisation leaves nothing of the phrase {value!r}, so that no text can hold it.")


def _locked(root: "DataRoot") -> Any:
    from jgpt_dagster.storage.partition_lock import partition_lock

    return partition_lock(root.path, "exclusions", "jgpt exclude", say)


def _summary(receipt: Any, new: "Sequence[Exclusion]") -> Iterator[str]:
    found = Counter(document["entry"] for document in receipt["documents"])
    for entry in new[:_SHOWN]:
        yield f"{entry.name}: {_documents(found[entry.number])}"
    if len(new) > _SHOWN:
        rest = sum(found[entry.number] for entry in new[_SHOWN:])
        yield f"and {len(new) - _SHOWN:,} more entries: {_documents(rest)}"
    copies = receipt["near_copies"]
    yield f"near copies: {len(copies['dropped']):,} dropped, {len(copies['kept']):,} kept"
    for copy in copies["kept"][:_SHOWN]:
        yield f"  {copy['corpus']}:{copy['key']} is like {copy['of'][0]}:{copy['of'][1]}, and stays"
    yield f"in {len(receipt['tokens']):,} token files: {sum(file['tokens'] for file in receipt['tokens']):,} tokens"
    for model in receipt["models"]:
        steps, checkpoints = len(model["steps"]), len(model["checkpoints"])
        through = f"started from {model['through']}" if model["through"] else f"{steps:,} steps read them"
        through = "its training data is gone, so nobody can tell" if model["unknown"] else through
        released = f", {model['release']}" if model["release"] else ""
        yield f"{model['label']}: {through}, {checkpoints:,} kept checkpoints had{released}"


def _documents(count: int) -> str:
    return f"{count:,} document{'' if count == 1 else 's'}"


def _next_steps(root: "DataRoot") -> Iterator[str]:
    dump = max(root.dumps("*_articles"), default="latest")
    yield f"Take them out with:\n  {shlex.join(['jgpt', 'run', '--dump', dump, '--to', 'training_set'])}"
    yield "and see that they are gone with:\n  jgpt exclude check"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _say(lines: Iterator[str]) -> None:
    for line in lines:
        say(line)
