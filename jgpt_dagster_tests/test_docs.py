"""The documents match the code: the tables are generated from it, and the worked examples run."""

import ast
import lzma
import re
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from jgpt_dagster.cli import main
from jgpt_dagster.definitions import defs
from jgpt_dagster.settings import Settings
from jgpt_dagster_tests.support.deployments import BIN, DUMP, PROJECT, mini_deployment
from jgpt_dagster_tests.support.tables import rows_of

EXTENDING = (PROJECT / "docs" / "extending.md").read_text()


def code(language: str) -> list[str]:
    """Return the code blocks of the guide in a language."""
    return re.findall(rf"```{language}\n(.*?)```", EXTENDING, flags=re.DOTALL)


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    script = runpy.run_path(str(PROJECT / "docs" / "generate_tables.py"))
    for document in script["DOCUMENTS"]:
        text = (PROJECT / document).read_text()
        assert "<!-- begin generated: " in text
        assert text == script["with_tables"](document, text), f"{document}: run `make docs-tables`"


def test_every_variable_and_every_asset_with_run_config_is_explained() -> None:
    settings = (PROJECT / "docs" / "settings.md").read_text()
    assert not [name for name in Settings.model_fields if f"| `JGPT_{name.upper()}` |" not in settings]
    assets = [key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys]
    headings = " ".join(re.findall(r"^### (.+)$", settings, flags=re.MULTILINE))
    assert not [asset for asset in assets if f"`{asset}`" not in headings]


def test_every_variable_says_what_it_means() -> None:
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def messages_of_the_code() -> Iterator[str]:
    """Yield every text in the package, with `…` for the values in it."""
    for path in (PROJECT / "jgpt_dagster").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)  # type: ignore[misc]


def test_the_messages_that_are_explained_are_those_of_the_code() -> None:
    guide = (PROJECT / "docs" / "troubleshooting.md").read_text().partition("\n## Dagster")[0]
    quoted = re.findall(r"^\| `([^`]+)`", guide, flags=re.MULTILINE)
    quoted += re.findall(
        r"^\| `([^`]+)`", (PROJECT / "docs" / "training.md").read_text().partition("| message |")[2], re.M
    )
    assert len(quoted) > 40
    messages = [message.replace("`", "") for message in messages_of_the_code()]
    patterns = {quote: re.compile(".*".join(map(re.escape, quote.split("…"))), re.DOTALL) for quote in quoted}
    unknown = [quote for quote, pattern in patterns.items() if not any(map(pattern.search, messages))]
    assert not unknown, "\n".join(unknown)


@pytest.mark.parametrize(
    "document", ["docs/architecture.md", "CONTRIBUTING.md", "benchmarks/README.md", "docs/security.md"]
)
def test_the_files_that_a_document_names_exist(document: str) -> None:
    text = (PROJECT / document).read_text()
    package, tests = PROJECT / "jgpt_dagster", PROJECT / "jgpt_dagster_tests"
    places = [PROJECT, (PROJECT / document).parent, *package.rglob(""), *tests.rglob("")]
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    assert named and not [name for name in named if not any((place / name).exists() for place in places)]


def test_every_folder_of_the_package_is_on_the_map() -> None:
    rows = (PROJECT / "docs" / "architecture.md").read_text().partition("## Import directions")[0]
    package = PROJECT / "jgpt_dagster"
    folders = {str(path.parent.relative_to(package)) for path in package.rglob("*.py")} - {"."}
    assert {name for name in folders if f"| `{name}/` |" not in rows} <= {"corpus", "lm"}


def test_the_sizes_in_the_readme_are_those_that_the_plan_computes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JGPT_DATA", str(tmp_path))
    row = r"^\| `(\w+)` \| [^|]+ \| ([0-9.]+ B) \| `(\w+-80)` \| ([^|]+) \| ([0-9,]+) \|$"
    rows = re.findall(row, (PROJECT / "README.md").read_text(), flags=re.MULTILINE)
    assert len(rows) == 4
    for model, tokens, hardware, time, cost in rows:
        arguments = ["--model", model, "--tokens", tokens.replace(" ", ""), "--hardware", hardware, "--price", "2"]
        plan = CliRunner().invoke(main, ["plan", *arguments]).output
        assert re.search(rf"^time +{time}$", plan, flags=re.MULTILINE), plan
        computed = re.search(r"^cost +([0-9,.]+)", plan, flags=re.MULTILINE)
        assert computed and round(float(computed[1].replace(",", ""))) == int(cost.replace(",", ""))


def test_every_picture_is_shown_by_a_document_and_all_are_small() -> None:
    shown = {
        (path.parent / target).resolve()
        for path in (PROJECT / "README.md", *(PROJECT / "docs").glob("*.md"))
        for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", path.read_text())
    }
    pictures = set((PROJECT / "docs" / "images").iterdir())
    assert shown == pictures
    assert sum(path.stat().st_size for path in pictures) < 1_500_000


@pytest.mark.parametrize("link", ["[dead](nowhere.md)", "[dead](settings.md#nowhere)", "[dead](../nowhere.py)"])
def test_a_dead_link_fails_the_build_of_the_site(tmp_path: Path, link: str) -> None:
    shutil.copytree(PROJECT / "docs", tmp_path / "docs")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "compose.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    for name in ("benchmarks", "deploy", "jgpt_dagster", "requirements"):
        (tmp_path / name).symlink_to(PROJECT / name)
    build = [str(BIN / "mkdocs"), "build", "--strict", "--config-file", str(tmp_path / "mkdocs.yml")]
    assert subprocess.run(build, capture_output=True, check=False).returncode == 0
    with (tmp_path / "docs" / "filters.md").open("a") as page:
        page.write(f"\n{link}\n")
    assert subprocess.run(build, capture_output=True, check=False).returncode != 0


def test_the_segmenter_of_the_guide_segments_a_wiki(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (module,), (project,) = code("python"), code("toml")
    _, _, entry_point = project.partition('[project.entry-points."jgpt_dagster.segmenters"]\n')
    name, target = re.findall(r'(\w+) = "(.+)"', entry_point)[0]
    packages = tmp_path / "packages"
    installed = packages / "script_segmenter-0.1.dist-info"
    installed.mkdir(parents=True)
    (packages / f"{target.partition(':')[0]}.py").write_text(module)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: script-segmenter\nVersion: 0.1\n")
    (installed / "entry_points.txt").write_text(f"[jgpt_dagster.segmenters]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(packages)

    deployment = mini_deployment(tmp_path).with_settings(SEGMENTER=name)
    for asset, partition in [
        ("wikipedia_dump", DUMP),
        ("wikipedia_articles", f"{DUMP}|000"),
        ("wikipedia_segmented", f"{DUMP}|000"),
    ]:
        assert deployment.materialize(asset, partition).error is None
    segmented = deployment.root.parquet("wikipedia_segmented", DUMP, "000")
    assert segmented.verified().recipe.libraries["segmenter"] == "script 1"
    assert ["第 1 の 町"] in pq.read_table(segmented.path)["lines"][0].as_py()


def test_the_folder_of_the_guide_becomes_a_corpus_that_is_trained_on(tmp_path: Path) -> None:
    example = next(block for block in code("shell") if "JGPT_FOLDERS" in block)
    making, command, _ = example.partition("jgpt run")
    assert command
    shown = f'{making}\nprintf %s "$JGPT_FOLDERS"'
    folders = subprocess.run(["bash", "-ec", shown], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    deployment = mini_deployment(tmp_path).with_settings(FOLDERS=folders)
    steps: list[tuple[str, str | None, dict[str, Any]]] = [
        ("wikipedia_dump", DUMP, {}),
        ("wikipedia_articles", f"{DUMP}|000", {}),
        ("wikipedia_segmented", f"{DUMP}|000", {}),
        ("news_documents", "000", {}),
        ("news_segmented", "000", {}),
        ("tokenizer", None, {"vocab_size": 600, "limit_alphabet": 300}),
        ("wikipedia_tokens", f"{DUMP}|000", {}),
        ("news_tokens", "000", {}),
        ("training_set", DUMP, {"validation_share": 0.3, "weights": {"news": 2.0}}),
    ]
    for asset, partition, config in steps:
        made = deployment.materialize(asset, partition, **config)
        assert made.error is None and all(made.checks.values()), asset
    rows = pq.read_table(deployment.root.parquet("news_documents", shard="000").path).to_pylist()
    assert [(row["document_id"], row["lines"][0][:2], len(row["lines"])) for row in rows] == [
        (0, "海に", 2),
        (1, "山の", 1),
        (2, "港の", 1),
    ]
    assert ("news", "1", "3") in [row[:3] for row in rows_of(made.metadata["mixture"])]
    tokenizer = deployment.root.directory("tokenizer").verified()
    assert "news_segmented 000" in tokenizer.recipe.inputs
    unknown = deployment.materialize("training_set", DUMP, weights={"newz": 2.0})
    assert unknown.error == "weights: no corpus is called newz; here: wikipedia, news"


def test_the_corpus_of_the_guide_is_read(tmp_path: Path) -> None:
    (text,) = code("text")
    archive = tmp_path / "own.txt.xz"
    archive.write_bytes(lzma.compress(text.encode()))
    deployment = mini_deployment(tmp_path).with_settings(CC100_URL=archive.as_uri())
    assert deployment.materialize("cc100_dump").error is None
    assert deployment.materialize("cc100_documents", "000", minimum_characters=1).error is None
    documents = pq.read_table(deployment.root.parquet("cc100_documents", shard="000").path)["lines"].to_pylist()
    assert documents == [block.splitlines() for block in text.strip().split("\n\n")]


def test_the_threat_model_names_tests_that_there_are() -> None:
    named = set(re.findall(r"test_\w+\.py", (PROJECT / "docs" / "security.md").read_text()))
    assert named and named <= {path.name for path in (PROJECT / "jgpt_dagster_tests").rglob("test_*.py")}
