"""`<corpus>_documents` of a folder: the source of a document can be named and found again."""

import json
import random
from pathlib import Path

import pytest

from jgpt_dagster.storage.parquet import read_rows
from jgpt_dagster_tests.support.deployments import Deployment

_CHOOSER = random.Random(1)
TEXTS = ["".join(_CHOOSER.choices("あいうえおかきくけこさしすせそたちつてと", k=80)) for _ in range(5)]


@pytest.mark.parametrize("profile", ["clean", "seed"])
def test_a_document_has_the_url_licence_date_and_id_of_its_line(tmp_path: Path, profile: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    records = [
        {"text": text, "url": f"https://example.org/{number}", "license": "CC0", "date": "2024-01-01", "id": number}
        for number, text in enumerate(TEXTS[:4])
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, [*records, {**records[0], "id": "a copy"}])))
    (folder / "b.txt").write_text(TEXTS[4])
    settings = {"FOLDERS": f"own={folder}", "CC100_URL": "", "SHARDS": "2", "TEXT": profile, "MODEL": "tiny"}
    deployment = Deployment(tmp_path / "data", settings)
    found: dict[int, tuple[str | None, ...]] = {}
    for shard in ("000", "001"):
        made = deployment.materialize("own_documents", shard)
        assert made.error is None and all(made.checks.values())
        table = deployment.root.parquet("own_documents", shard=shard)
        found |= {row[0]: row[1:] for row in read_rows(table.path, ["document_id", "url", "license", "date", "id"])}
        assert deployment.materialize("own_segmented", shard).error is None
        segmented = deployment.root.parquet("own_segmented", shard=shard)
        assert list(read_rows(segmented.path, ["document_id"])) == list(read_rows(table.path, ["document_id"]))
    for number in range(4):
        assert found.pop(number) == (f"https://example.org/{number}", "CC0", "2024-01-01", str(number))
    copy = {} if profile == "clean" else {4: ("https://example.org/0", "CC0", "2024-01-01", "a copy")}
    assert found == {**copy, 5: (None, None, None, None)}
    if profile == "clean":
        explained = read_rows(deployment.root.parquet("own_duplicates", shard="000").path)
        assert (4, None, "near_duplicate", 0, None, 1.0) in list(explained)
