"""Writes the files in `requirements/`: every distribution with the hashes of all its files on the package index.

    make lock

Versions are those of constraints.txt, which is edited by hand; a distribution that is missing there is named. pip
checks the hashes as it installs (`--require-hashes`), so that neither an index nor a mirror can slip in another file.
"""

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "requirements"
CONSTRAINTS = PROJECT / "constraints.txt"

# Each file, and what it is for: names, or extras of this project.
LOCKS: dict[str, tuple[str, ...]] = {
    "build": ("pip", "setuptools", "wheel"),
    "torch": ("torch",),
    "runtime": ("[cluster,s3]",),
    "dev": ("[dev]",),
    "sbom": ("cyclonedx-bom",),
}
# That of Debian 12, on which the image is built: older patch releases need more, and some packages refuse them.
_PYTHON = "3.11.2"

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+).*\\\n(?: +--hash=\S+(?: \\)?\n)+", re.MULTILINE)

# The markers of `tool.uv.environments`, which uv repeats at every distribution.
_ENVIRONMENT = " ; python_full_version < '3.13' and sys_platform == 'linux'"

# torch, and what only its builds for GPUs require: in torch.txt alone, because a build for CPUs may take its place.
_GPU = re.compile(r"(nvidia|cuda)-|triton$|torch$")


def main() -> int:
    """Write all files; return 1 if constraints.txt lacks a distribution."""
    FOLDER.mkdir(exist_ok=True)
    resolved = {name: _resolved(wanted) for name, wanted in LOCKS.items()}
    known = pins(CONSTRAINTS.read_text())
    missing = {pin for text in resolved.values() for pin in pins(text).items() if known.get(pin[0]) != pin[1]}
    if missing:
        print("Add to constraints.txt:", *(f"{name}=={version}" for name, version in sorted(missing)), sep="\n")
        return 1
    for name, text in resolved.items():
        blocks = [match for match in _PIN.finditer(text) if name == "torch" or not _GPU.match(match[1])]
        (FOLDER / f"{name}.txt").write_text(f"# Written by `make lock`.\n{''.join(match[0] for match in blocks)}")
    return 0


def pins(text: str) -> dict[str, str]:
    """Return the version of each distribution that a requirements or constraints file pins, by its normalized name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def _resolved(wanted: tuple[str, ...]) -> str:
    """Return what uv resolves, for every platform and both versions of Python, with hashes."""
    source, given = ["-"], "\n".join(wanted)
    if wanted[0].startswith("["):
        extras = wanted[0].strip("[]").split(",")
        source, given = ["pyproject.toml", *(f"--extra={extra}" for extra in extras)], ""
    options = ["--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    options += [f"--python-version={_PYTHON}", f"--constraint={CONSTRAINTS}"]
    command = [str(Path(sys.executable).parent / "uv"), "pip", "compile", *source, *options]
    done = subprocess.run(command, input=given, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.replace(_ENVIRONMENT, "")


if __name__ == "__main__":
    sys.exit(main())
