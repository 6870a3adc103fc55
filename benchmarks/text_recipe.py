"""The published recipe's steps from raw text to sentences and words, said anew so that they can be measured.

What is installed is called as the recipe calls it: `bzip2`, `xz`, wikiextractor's command line, `sed`, neologdn. Two of
its programs are not on the package registry and have a stand-in: textformatting's `ssplit`, by its rules, and Juman++,
in whose place the default engine reads sentences from standard input and writes them in words, checking nothing.
`python text_recipe.py split` and `python text_recipe.py words` are those two filters; `text.py` runs the commands.
"""

import re
import shlex
import sys
from pathlib import Path

_SELF = f"{shlex.quote(sys.executable)} {shlex.quote(__file__)}"
_PERIODS = "。．？！♪…?!"


def wikipedia_commands(dump: Path, processes: int) -> str:
    """Return the shell lines from a bz2 dump to `wiki.txt`, a line of text a line, in the working directory."""
    extractor = shlex.quote(str(Path(sys.executable).with_name("wikiextractor")))
    return "\n".join(
        [
            "set -e -o pipefail",
            f"bzip2 -dkc {shlex.quote(str(dump))} > dump.xml",
            f"{extractor} --quiet --processes {processes} -o text dump.xml",
            "find text -name 'wiki_*' | sort | xargs cat > wiki.txt",
            "sed -i 's/<[^>]*>//g' wiki.txt",
            "sed -i '/^$/d' wiki.txt",
        ]
    )


def cc100_commands(archive: Path) -> str:
    """Return the shell lines from an xz archive to `cc100.txt`."""
    return f"set -e -o pipefail\nxz -dkc {shlex.quote(str(archive))} > cc100.txt"


def sentence_commands(text: str, words: bool) -> str:
    """Return the shell line from a text file to its sentences, or to these in words."""
    return f"{_SELF} split < {text}" + (f" | {_SELF} words" if words else "") + f" > {text}.out"


def split_lines() -> None:
    """Write the sentences of the lines of standard input, and draw the recipe's bar."""
    import neologdn
    from tqdm import tqdm

    with tqdm() as bar:
        for line in sys.stdin:
            for sentence in ssplit(neologdn.normalize(line.rstrip())):
                print(sentence)
            bar.update(1)


def split_words() -> None:
    """Write the sentences of standard input in words."""
    import fugashi
    import jumandic

    parse = fugashi.GenericTagger(f"-O wakati -r /dev/null -d {shlex.quote(jumandic.DICDIR)}").parse
    for sentence in sys.stdin:
        print(parse(sentence.rstrip("\n")))


def ssplit(line: str) -> list[str]:
    """Return the sentences of a line: cut after each period, rejoined where a bracket or quotation is open."""
    pieces: list[str] = []
    for piece in re.split(f"(?<=[{_PERIODS}])", line):
        if pieces and len(piece) == 1 and piece in _PERIODS:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    sentences, sentence, brackets, quotations = [], "", 0, 0
    for piece in pieces:
        sentence += piece
        brackets += len(re.findall("[（(]", piece)) - len(re.findall("[）)]", piece))
        quotations += len(re.findall("[「“]", piece)) - len(re.findall("[」”]", piece))
        if brackets == 0 and quotations == 0:
            sentences.append(sentence)
            sentence = ""
    return [stripped for whole in [*sentences, sentence] if (stripped := whole.strip())]


if __name__ == "__main__":
    {"split": split_lines, "words": split_words}[sys.argv[1]]()
