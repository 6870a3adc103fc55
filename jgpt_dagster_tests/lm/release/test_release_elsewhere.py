"""A release of a tokenizer that encodes text, as programs use it that know nothing of this package."""

import json
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from transformers import AutoTokenizer

from jgpt_dagster.corpus.text.normalize import normalizer
from jgpt_dagster.lm.release.generation import SamplingSettings, TextGenerator, prompt_text
from jgpt_dagster.lm.release.release_directory import write_release
from jgpt_dagster.lm.release.release_tokenizer import OLDEST_TRANSFORMERS, clean_normalizer
from jgpt_dagster.lm.tokenizer.text_tokenizer import load_tokenizer
from jgpt_dagster_tests.lm.release.random_models import new_model, save_model, save_small_tokenizer

PROGRAM = Path(__file__).with_name("foreign_program.py")
PROMPTS = [
    "吾輩は猫である",
    "東京",
    " Ｎｅｗ　Ｙｏｒｋ と\u3000ﾄﾞｲﾂ、１９９０年～２０００年（か\u3099）！ ",
    "猫\r\n \n\n吾輩ーーは▁猫\u200b",
    "鬱と𠮷野家",
]


@pytest.fixture(scope="module")
def release(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    tokenizer_dir = save_small_tokenizer(folder / "tokenizer", "text")
    model_dir = save_model(new_model(tokenizer_dir), folder / "model")
    write_release(folder / "release", model_dir, tokenizer_dir, "", run_dir, "jgpt tiny")
    return folder / "release"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_a_release_normalises_is_what_clean_does_to_each_line(text: str) -> None:
    lines = map(normalizer("clean"), text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    expected = "\n".join(filter(None, lines))
    assert clean_normalizer().normalize_str(text).strip("\n") == expected


@given(st.text(st.sampled_from("か\u3099゛ｶﾞ－ー－．，ＡAＦ1１ \u3000\ufe0f～―—\u200b一▁\n\r「）)"), max_size=12))
def test_it_does_so_where_substitutions_meet(text: str) -> None:
    test_what_a_release_normalises_is_what_clean_does_to_each_line.hypothesis.inner_test(text)  # type: ignore[attr-defined]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_raw_text_has_the_ids_of_the_pipeline_after_the_end_of_a_document(release: Path, prompt: str) -> None:
    ours, theirs = load_tokenizer(release), AutoTokenizer.from_pretrained(release, local_files_only=True)
    encoded = ours.encode(prompt_text(ours, prompt)).tolist()
    assert theirs(prompt)["input_ids"] == [ours.eos_id, *encoded]
    assert theirs.decode(encoded) == prompt_text(ours, prompt)


def test_special_tokens_and_pairs_are_what_other_programs_expect(release: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(release, local_files_only=True)
    end = tokenizer.eos_token_id
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("</s>", "</s>", "<s>")
    plain = tokenizer("猫", add_special_tokens=False)["input_ids"]
    assert tokenizer(tokenizer.bos_token + "猫", add_special_tokens=False)["input_ids"] == [end, *plain]
    assert tokenizer("猫", "猫")["input_ids"] == [end, *plain, end, *plain]
    padded = tokenizer(["猫", "猫猫猫"], padding=True)
    assert padded["input_ids"][0][0] == tokenizer.pad_token_id and padded["attention_mask"][0][0] == 0
    assert padded["input_ids"][0][-1] == plain[-1]


def test_a_text_begins_at_the_context_of_a_pipeline_by_default(release: Path) -> None:
    context = json.loads((release / "config.json").read_text())["n_positions"]
    assert json.loads((release / "generation_config.json").read_text())["max_length"] == context
    assert json.loads((release / "tokenizer_config.json").read_text())["model_max_length"] == context


@pytest.mark.long
@pytest.mark.parametrize("version", [f"{OLDEST_TRANSFORMERS}.0", "4.57.6", "5.0.0", "newest"])
def test_a_bare_environment_continues_raw_prompts_as_this_package_does(
    release: Path, tmp_path: Path, version: str
) -> None:
    python = bare_environment(tmp_path / "environment", "" if version == "newest" else f"=={version}")
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps(PROMPTS))
    done = subprocess.run([python, PROGRAM, release, prompts], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    ours = load_tokenizer(release)
    generator = TextGenerator(release, release)
    texts = [generator.continue_prompt(prompt, SamplingSettings(max_new_tokens=8, temperature=0)) for prompt in PROMPTS]
    continuations = [text.removeprefix(prompt_text(ours, prompt)) for text, prompt in zip(texts, PROMPTS, strict=True)]
    assert found["ids"] == [[ours.eos_id, *ours.encode(prompt_text(ours, prompt)).tolist()] for prompt in PROMPTS]
    assert found["padded"] == texts
    readable = [index for index, text in enumerate(continuations) if "\ufffd" not in text]
    assert len(readable) >= 2
    for index in readable:
        expected = PROMPTS[index] + continuations[index]
        assert found["texts"][index] == found["batched"][index] == expected
    assert found["cut"]
    assert found["tokens"] == ["</s>", "</s>", "<unk>", "<s>"]
    assert found["inputs"] == ["attention_mask", "input_ids"]
    assert found["context"] == [128, 128]


def bare_environment(directory: Path, transformers: str) -> Path:
    """Make an environment with transformers from the package index and this one's torch; skip if there is no index."""
    venv.create(directory, symlinks=True)
    python = directory / "bin" / "python"
    (packages,) = (directory / "lib").glob("python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", f"transformers{transformers}"]
    installed = subprocess.run(pip, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"transformers{transformers} cannot be installed: {installed.stderr[-300:]}")
    for name in with_requirements("torch"):
        for file in distribution(name).files or ():
            target = packages / file.parts[0]
            if file.parts[0] != ".." and not target.exists():
                target.symlink_to(Path(str(distribution(name).locate_file(file.parts[0]))))
    return python


def with_requirements(name: str, found: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the names of a distribution and of all that it requires here."""
    found |= {name}
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found = with_requirements(requirement.name, found)
    return found
