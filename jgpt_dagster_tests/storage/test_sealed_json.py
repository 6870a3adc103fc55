import json
from pathlib import Path

import pytest

from jgpt_dagster.storage.sealed_json import read_sealed_json, seal, write_sealed_json

VALUE = {"counts": {"tokens": 3}, "zeit": "0" * 64, "files": {"海": 1.5}}


@pytest.mark.parametrize("value", [VALUE, {}, {"seal": "an old one", "a": 1}])
def test_what_is_written_is_read_again_and_is_plain_json(tmp_path: Path, value: dict[str, object]) -> None:
    path = tmp_path / "run.json"
    write_sealed_json(path, value)
    without = {name: entry for name, entry in value.items() if name != "seal"}
    assert read_sealed_json(path.read_bytes()) == without
    assert [*json.loads(path.read_text())] == [*sorted(without), "seal"]


def test_every_byte_counts() -> None:
    data = seal(VALUE)
    for place in range(len(data)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 255, data[place] ^ ord("\t"), data[place] ^ ord('"')):
            if mask:
                damaged = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
                with pytest.raises(ValueError):
                    read_sealed_json(damaged)
    for cut in range(len(data)):
        with pytest.raises(ValueError):
            read_sealed_json(data[:cut])


@pytest.mark.parametrize(
    "text", ["{}", '{"tokenizer": "' + "a" * 64 + '"}\n', json.dumps({"tokenizer": "a" * 64}, indent=1) + "\n"]
)
def test_a_file_of_an_earlier_version_has_no_seal(text: str) -> None:
    assert read_sealed_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"a": 1, "a": 2}', '{"seal": 3}'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_sealed_json(text.encode())
