"""Nothing that comes from outside writes outside of the data root, fills the memory, or opens a port to the world."""

import ast
import bz2
import lzma
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import jgpt_dagster
from jgpt_dagster import cli
from jgpt_dagster.catalog.corpora import configured_corpora
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.catalog.retention import Removal
from jgpt_dagster.sample.pack import Page
from jgpt_dagster.storage.data_root import DataRoot
from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster.webserver import dagster_commands
from jgpt_dagster_tests.support.deployments import DUMP, mini_deployment, mini_pages

MEMORY = 512 << 20
UNPACKED = 640 << 20

# Reads what a mirror sent as a shard does, with less memory than it unpacks to.
READ = """
import sys
from pathlib import Path
from jgpt_dagster.corpus.web.cc100 import read_documents
from jgpt_dagster.corpus.fetch.decompress import bz2_chunks
from jgpt_dagster.corpus.wikipedia.page_xml import parse_pages

path = Path(sys.argv[1])
if path.suffix == ".xz":
    rejected = []
    documents = list(read_documents(path, rejected))
    print(len(documents), "documents", len(rejected), "rejected")
else:
    print(len(list(parse_pages(bz2_chunks(path)))), "pages")
"""


def read_in_little_memory(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )


def test_an_xz_bomb_is_one_rejected_document(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.txt.xz"
    stream = lzma.compress(bytes(64 << 20), preset=0)
    bomb.write_bytes(stream * (UNPACKED >> 26))
    assert bomb.stat().st_size < 1 << 20
    result = read_in_little_memory(bomb)
    assert (result.returncode, result.stdout) == (0, "0 documents 1 rejected\n"), result.stderr


def test_a_bz2_bomb_in_a_page_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.xml.bz2"
    spaces = bz2.compress(b" " * (64 << 20))
    bomb.write_bytes(bz2.compress(b"<page><title>") + spaces * (UNPACKED >> 26))
    assert bomb.stat().st_size < 1 << 20
    result = read_in_little_memory(bomb)
    assert result.returncode == 1 and "<title> holds more" in result.stderr and "MemoryError" not in result.stderr


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE mediawiki [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
        + "]>",
        '<!DOCTYPE mediawiki [<!ENTITY j SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE mediawiki SYSTEM "http://127.0.0.1:9/evil.dtd">',
    ],
    ids=["billion laughs", "external entity", "external subset"],
)
def test_entities_are_refused_unexpanded(tmp_path: Path, declaration: str) -> None:
    dump = tmp_path / "dump.xml.bz2"
    dump.write_bytes(bz2.compress(f"{declaration}<mediawiki><page><title>&j;</title></page></mediawiki>".encode()))
    result = read_in_little_memory(dump)
    assert result.returncode == 1 and "document type declaration" in result.stderr
    assert "root:" not in result.stderr + result.stdout


def test_titles_that_look_like_paths_name_rows_and_no_files(tmp_path: Path) -> None:
    titles = ["../../../../escaped", str(tmp_path / "escaped"), "..", "a\\..\\escaped", "$(touch escaped)"]
    pages = [*mini_pages(), *(Page(title, 90 + n, 900 + n, f"本文は{n}である。") for n, title in enumerate(titles))]
    deployment = mini_deployment(tmp_path, pages)
    before = {path for path in tmp_path.rglob("*") if deployment.data not in path.parents}
    for asset, partition in (("wikipedia_dump", DUMP), ("wikipedia_articles", f"{DUMP}|000")):
        assert deployment.materialize(asset, partition).error is None
    articles = deployment.root.parquet("wikipedia_articles", DUMP, "000")
    assert {title for (title,) in read_rows(articles.path, ["title"])} >= set(titles)
    after = {path for path in tmp_path.rglob("*") if deployment.data not in path.parents}
    assert after - before <= {deployment.data}
    assert not list(tmp_path.rglob("*escaped*"))


def test_removing_a_dump_removes_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("manifest.json", "precious"):
        (elsewhere / name).write_text("kept")
    root = DataRoot(tmp_path / "data")
    (root.path / "wikipedia_articles").mkdir(parents=True)
    (root.path / "wikipedia_articles" / f"dump={DUMP}").symlink_to(elsewhere)
    catalog = OutputCatalog(root, configured_corpora("miniwiki", "", {}), ("000",), "tiny")
    Removal.of_dump(catalog, tmp_path / "scratch", DUMP).delete()
    assert sorted(os.listdir(elsewhere)) == ["manifest.json", "precious"]
    assert root.dumps() == []


def test_the_ui_listens_on_loopback_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        dagster_commands, "serve_with_daemon", lambda host, _, *, read_only, verbose: started.append((host, read_only))
    )
    monkeypatch.setenv("JGPT_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    for options in ([], ["--host", "0.0.0.0"], ["--read-only"]):
        assert CliRunner().invoke(cli.main, ["ui", *options]).exit_code == 0
    assert started == [("127.0.0.1", False), ("0.0.0.0", False), ("127.0.0.1", True)]


def test_no_file_that_is_read_can_run_code() -> None:
    """`torch.load` runs what a pickle asks for unless it is told to read weights only."""
    sources = list(Path(jgpt_dagster.__file__).parent.rglob("*.py"))
    calls = [
        node for source in sources for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)
    ]
    loads = [call for call in calls if ast.unparse(call.func) in ("torch.load", "pickle.load", "pickle.loads")]
    assert loads
    for call in loads:
        assert "weights_only=True" in [ast.unparse(keyword) for keyword in call.keywords], ast.unparse(call)
