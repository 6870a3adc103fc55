"""The graph of the contract: assets with fixed keys, groups and partitions, that load fast."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

CONTRACT = {
    "wikipedia_dump": ("wikipedia", ["dump"], []),
    "wikipedia_articles": ("wikipedia", ["dump", "shard"], ["wikipedia_dump"]),
    "wikipedia_segmented": ("wikipedia", ["dump", "shard"], ["wikipedia_articles"]),
    "cc100_dump": ("cc100", [], []),
    "cc100_documents": ("cc100", ["shard"], ["cc100_dump"]),
    "cc100_segmented": ("cc100", ["shard"], ["cc100_documents"]),
    "tokenizer": ("tokenizer", [], []),
    "wikipedia_tokens": ("training_set", ["dump", "shard"], ["tokenizer", "wikipedia_segmented"]),
    "cc100_tokens": ("training_set", ["shard"], ["cc100_segmented", "tokenizer"]),
    "wikipedia_word_counts": ("tokenizer", ["dump", "shard"], ["wikipedia_segmented"]),
    "cc100_word_counts": ("tokenizer", ["shard"], ["cc100_segmented"]),
    "wikipedia_span_index": ("training_set", ["dump", "shard"], ["wikipedia_tokens"]),
    "cc100_span_index": ("training_set", ["shard"], ["cc100_tokens"]),
    "training_set": ("training_set", ["dump"], ["cc100_tokens", "wikipedia_tokens"]),
    "plan": ("model", ["dump", "model"], ["training_set"]),
    "pretrained_model": ("model", ["dump", "model"], ["training_set"]),
    "evaluation": ("model", ["dump", "model"], ["pretrained_model", "tokenizer", "training_set"]),
    "foreign_evaluation": ("model", ["dump", "name"], ["tokenizer", "training_set"]),
    "task_evaluation": ("model", ["dump", "name"], ["tokenizer", "training_set"]),
    "release": ("model", ["dump", "model"], ["evaluation", "pretrained_model", "tokenizer"]),
}

# Loads the definitions as Dagster does, in a process of its own, and describes them.
DESCRIBE = """
import json, os, sys
import dagster as dg
from jgpt_dagster.definitions import defs

graph = defs.resolve_asset_graph()

def dimensions(partitions):
    if partitions is None:
        return []
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return [part.name for part in partitions.partitions_defs]
    return ["dump"] if isinstance(partitions, dg.DynamicPartitionsDefinition) else ["shard"]

nodes = {key.to_user_string(): graph.get(key) for key in graph.toposorted_asset_keys}
json.dump({
    "assets": {
        name: (node.group_name, dimensions(node.partitions_def),
               sorted(parent.to_user_string() for parent in node.parent_keys))
        for name, node in nodes.items()
    },
    "tags": {name: dict(graph.assets_def_for_key(node.key).op.tags) for name, node in nodes.items()},
    "pools": {name: node.pools and sorted(node.pools) for name, node in nodes.items()},
    "checks": {
        name: [(key.name, graph.get_check_spec(key).blocking) for key in node.check_keys]
        for name, node in nodes.items()
    },
    "shards": [
        node.partitions_def.get_partition_keys() for name, node in nodes.items() if name == "cc100_documents"
    ],
    "owners": {name: node.owners for name, node in nodes.items()},
    "sources": {
        name: [os.path.basename(link.file_path) for link in node.metadata["dagster/code_references"].code_references]
        for name, node in nodes.items()
    },
    "described": [name for name, node in nodes.items() if node.description and node.kinds],
    "columns": {
        name: [column.name for column in node.metadata["dagster/column_schema"].columns]
        for name, node in nodes.items() if "dagster/column_schema" in node.metadata
    },
    "heavy": [name for name in ("torch", "transformers", "deepspeed") if name in sys.modules],
    "seconds": os.times().user,
}, sys.stdout, default=str)
"""


def describe(**settings: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JGPT_", "DAGSTER_"))}
    environment |= {f"JGPT_{name}": value for name, value in settings.items()}
    output = subprocess.check_output([sys.executable, "-c", DESCRIBE], env=environment, text=True)
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.fixture(scope="module")
def definitions() -> dict[str, Any]:
    return describe(SHARDS="3")


def test_assets_groups_partitions_and_edges_are_those_of_the_contract(definitions: dict[str, Any]) -> None:
    assert {name: tuple(found) for name, found in definitions["assets"].items()} == CONTRACT


def test_the_number_of_shards_is_a_setting(definitions: dict[str, Any]) -> None:
    assert definitions["shards"] == [["000", "001", "002"]]


def test_variables_take_cc100_away_and_add_a_folder_as_a_corpus() -> None:
    found = describe(CC100_URL="", FOLDERS="news=/data/news")
    expected = {
        name.replace("cc100", "news"): [
            group.replace("cc100", "news"),
            partitions,
            sorted(parent.replace("cc100", "news") for parent in parents if parent != "cc100_dump"),
        ]
        for name, (group, partitions, parents) in CONTRACT.items()
        if name != "cc100_dump"
    }
    assert found["assets"] == expected


def test_definitions_load_in_under_three_seconds_without_torch(definitions: dict[str, Any]) -> None:
    assert definitions["heavy"] == []
    assert definitions["seconds"] < 3


def test_training_and_scoring_ask_for_gpus_and_one_pool_slot(definitions: dict[str, Any]) -> None:
    gpu = [name for name, tags in definitions["tags"].items() if tags["dagster-celery/queue"] == "gpu"]
    assert sorted(gpu) == ["evaluation", "foreign_evaluation", "pretrained_model", "task_evaluation"]
    for name in gpu:
        assert definitions["pools"][name] == ["gpu"]
        assert "nvidia.com/gpu" in str(definitions["tags"][name]["dagster-k8s/config"])
    others = {tags["dagster-celery/queue"] for name, tags in definitions["tags"].items() if name not in gpu}
    assert others == {"cpu"}


def test_every_stage_but_the_downloads_and_the_plan_has_blocking_checks(definitions: dict[str, Any]) -> None:
    checks = definitions["checks"]
    unchecked = [name for name in checks if not any(blocking for _, blocking in checks[name])]
    on_demand = {f"{corpus}_{made}" for corpus in ("cc100", "wikipedia") for made in ("span_index", "word_counts")}
    assert {*unchecked} == {"cc100_dump", "plan", "wikipedia_dump", *on_demand}
    warnings = {asset: {name for name, blocking in found if not blocking} for asset, found in checks.items()}
    others = {asset for asset, found in warnings.items() if "is_current" not in found}
    assert others == {"foreign_evaluation", "plan", "task_evaluation", *on_demand}
    assert {name for found in warnings.values() for name in found} == {
        "articles_kept",
        "documents_kept",
        "is_current",
        "is_newest",
        "no_markup_left",
        "not_worse_than_last",
        "better_than_bigrams",
    }


def test_every_asset_says_what_it_is(definitions: dict[str, Any]) -> None:
    assert sorted(definitions["described"]) == sorted(CONTRACT)
    document, page = ["document_id", "lines"], ["page_id", "revision_id", "title", "lines"]
    assert definitions["columns"] == {
        **{f"cc100_{stage}": document for stage in ("documents", "segmented")},
        **{f"wikipedia_{stage}": page for stage in ("articles", "segmented")},
    }


def test_every_asset_has_the_owner_of_the_settings_and_a_link_to_its_code(definitions: dict[str, Any]) -> None:
    assert definitions["owners"] == {name: ["team:jgpt"] for name in CONTRACT}
    assert definitions["sources"]["cc100_segmented"] == ["segmented_text.py"]
    assert all(len(sources) == 1 for sources in definitions["sources"].values())
    assert describe(OWNER="a@example.org")["owners"]["release"] == ["a@example.org"]
