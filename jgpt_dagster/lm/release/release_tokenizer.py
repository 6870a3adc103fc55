"""The tokenizer of a release: the trained one, with all that a program needs that knows nothing of this package.

A trained tokenizer takes text that is normalised already, and the stages end documents themselves. In a release one
file does for any library: it normalises, puts `</s>` in front as in training, and says what pads a batch.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, processors

from jgpt_dagster.corpus.text.substitutions import SPACES, SUBSTITUTIONS, Substitution
from jgpt_dagster.lm.model.gpt2 import BEGIN_ID
from jgpt_dagster.lm.tokenizer.merge_table import closed_merges
from jgpt_dagster.lm.tokenizer.text_tokenizer import BEGIN, END, LINE_END, UNKNOWN

PAD, PAD_ID = BEGIN, BEGIN_ID
"""What pads a batch: `<s>`, which is in no text. With `</s>`, tuning a model would not teach it to end documents."""

OLDEST_TRANSFORMERS = "4.49"
"""The oldest version of transformers that was seen to open a release; 4.44 cannot read the merge table."""

_SURROGATES = "\ud800-\udfff"
"""The only invisible characters that no string of the tokenizers library can have."""


def release_tokenizer(tokenizer_json: str) -> str:
    """Return the tokenizer.json of a release for that of a trained tokenizer: the same ids for what that one takes.

    The merge table is closed, and special tokens in a text are special. If text is encoded, it is normalised as under
    `clean`; words are not, since only a segmenter can make them.
    """
    trained: dict[str, Any] = json.loads(tokenizer_json)
    trained["model"]["merges"] = closed_merges((left, right) for left, right in trained["model"]["merges"])
    tokenizer = Tokenizer.from_str(json.dumps(trained))
    end = tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A {END} $B", special_tokens=[(END, end)]
    )
    if trained["pre_tokenizer"] is None:
        tokenizer.normalizer = clean_normalizer()
        # Found in normalised text, where line ends are `\n` and no line is empty.
        tokenizer.add_tokens([AddedToken(LINE_END, normalized=True, special=False)])
    return str(tokenizer.to_str(pretty=True))


def release_tokenizer_config(trained: Mapping[str, Any], context: int) -> dict[str, Any]:
    """Return the tokenizer_config.json of a release for that of a trained tokenizer and a context in tokens.

    Every text begins with `</s>`, so that is its begin token too: `<s>` was in no training text. Prompts of a batch end
    together, where the model goes on.
    """
    kept = {name: value for name, value in trained.items() if name != "split_special_tokens"}
    tokens = {"unk_token": UNKNOWN, "bos_token": END, "eos_token": END, "pad_token": PAD}
    return {**kept, **tokens, "padding_side": "left", "model_max_length": context}


def clean_normalizer() -> normalizers.Normalizer:
    """Return the normalisation of `clean` for a text of any number of lines: each line, without those that are empty.

    Other than the stages, which know lines apart, it finds them in the text.
    """
    line_ends = [normalizers.Replace(Regex("\r\n?"), "\n")]
    no_empty_lines = [normalizers.Replace(Regex("\n\n+"), "\n"), normalizers.Replace(Regex(r"\A\n(?=.)"), "")]
    return normalizers.Sequence([*line_ends, *_replacements(), *no_empty_lines])


def _replacements() -> Iterator[normalizers.Normalizer]:
    """Yield each of SUBSTITUTIONS as one normalizer or, if what it writes varies, as one for each string."""
    for substitution in SUBSTITUTIONS:
        pattern = _in_lines(substitution.pattern.pattern)
        for found, written in _written(substitution):
            # What the pattern matches begins with what is to be replaced: it is that.
            condition = f"(?={found})" if found else ""
            yield normalizers.Replace(Regex(f"{condition}(?:{pattern})"), written)


def _written(substitution: Substitution) -> Iterator[tuple[str, str]]:
    """Yield what a substitution writes, each with the pattern of what it stands for; for all if that is empty."""
    if isinstance(substitution.replacement, str):
        yield "", substitution.replacement
        return
    sources: dict[str, list[str]] = {}
    for source, target in substitution.replacement.items():
        sources.setdefault(target, []).append(re.escape(source))
    for target, found in sources.items():
        yield "|".join(found), target


def _in_lines(pattern: str) -> str:
    """Return the pattern of a line as one of a line in a text, where a line feed is no space, but a border.

    It is for Oniguruma, whose backslash Z is before a last line feed too.
    """
    spaces = SPACES.replace("\t-\r", "\t\v-\r")
    pattern = pattern.replace(SPACES, spaces).replace(_SURROGATES, "")
    return pattern.replace(r"\A", r"(?:\A|(?<=\n))").replace(r"\Z", r"(?=\n|\z)")
