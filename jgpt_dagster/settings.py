"""Every setting that comes from the environment (prefix `JGPT_`). What concerns one asset alone is its run config."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jgpt_dagster.corpus.segmenters import segmenter_names
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.errors import JgptError
from jgpt_dagster.runtime.resource_limits import available_cores
from jgpt_dagster.storage.data_root import DataRoot

ModelName = Literal["tiny", "small", "medium", "large", "xl"]

# Name of a corpus that a folder holds; it becomes part of asset keys.
_CORPUS = re.compile(r"(?!(wikipedia|cc100)$)[a-z][a-z0-9_]*")


class SettingsError(JgptError):
    """A `JGPT_` variable holds a value that is out of range."""


class Settings(BaseSettings):
    """The settings of a deployment. Names, defaults and meanings are the table in the README."""

    model_config = SettingsConfigDict(env_prefix="JGPT_", frozen=True, extra="ignore")

    data: Path | str = Field(default="data", validate_default=True)
    scratch: Path | None = Field(default=None, validate_default=True)
    wiki: str = Field(default="jawiki", pattern=r"^[a-z][a-z0-9_]*$")
    dumps_url: str = "https://dumps.wikimedia.org"
    # It goes into a header of every request: an email address or a URL, in printable ASCII.
    contact: str = Field(default="", pattern=r"^((https?://|[!-'*-?A-~]+@)[!-'*-~]+)?$")
    cc100_url: str = "http://data.statmt.org/cc-100/ja.txt.xz"
    folders: Annotated[Mapping[str, Path], NoDecode] = Field(default_factory=dict)
    shards: int = Field(default=64, ge=1, le=99)
    segmenter: str = "mecab"
    text: TextProfile = "clean"
    model: ModelName = "xl"
    workers: int = Field(default_factory=available_cores, ge=1)
    refresh: Literal["on", "off"] = "on"
    poll_hours: float = Field(default=6, gt=0, le=8_760)
    run_config: Path | None = None
    failure_webhook: SecretStr | None = None
    # Dagster takes no other form of owner.
    owner: str = Field(default="team:jgpt", pattern=r"^(team:[\w.-]+|[^@\s]+@[^@\s]+)$")
    processes: int = Field(default=0, ge=0)
    hostfile: Path | None = None

    @field_validator("data", "scratch", "dumps_url", "run_config", "hostfile", mode="before")
    @classmethod
    def _not_empty(cls, value: object) -> object:
        if value == "":
            raise ValueError("must not be empty")
        return value

    @field_validator("data", mode="after")
    @classmethod
    def _directory_or_url(cls, data: Path | str) -> Path | str:
        if "://" not in str(data):
            return Path(data).expanduser().absolute()
        if data != _without_secrets(str(data)):
            raise ValueError("must hold no user, password or query; credentials come from the environment of the store")
        return str(data).rstrip("/")

    @field_validator("folders", mode="before")
    @classmethod
    def _named_folders(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair]
        names = [name for name, _, _ in pairs]
        if not all(_CORPUS.fullmatch(name) and folder for name, _, folder in pairs) or len({*names}) < len(names):
            raise ValueError(
                "must read NAME=FOLDER, or several of these parted by commas. Names are different, of a-z, 0-9 and _, "
                "begin with a letter, and are neither wikipedia nor cc100"
            )
        return {name: Path(folder).expanduser().absolute() for name, _, folder in sorted(pairs)}

    @field_validator("scratch", "run_config", "hostfile")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @field_validator("scratch")
    @classmethod
    def _beside_url(cls, scratch: Path | None, others: ValidationInfo) -> Path | None:
        if scratch is None and isinstance(others.data.get("data"), str):
            raise ValueError(
                "JGPT_DATA is a URL, which needs a directory of a local disk for this machine's copy of it"
            )
        return scratch

    @field_validator("segmenter")
    @classmethod
    def _installed(cls, name: str) -> str:
        names = segmenter_names()
        if name not in names:
            raise ValueError(f"must be one of {', '.join(names)}, or be added by a package (docs/extending.md)")
        return name

    @field_validator("dumps_url", "cc100_url")
    @classmethod
    def _supported_scheme(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://", "file://")):
            raise ValueError("must start with http://, https:// or file://")
        if url != _without_secrets(url):
            raise ValueError(
                "must hold no user, password or query, since it is recorded with what is made of it. Put a password "
                "into ~/.netrc; fetch what needs a query yourself and give its file:// URL"
            )
        return url.rstrip("/")

    @field_validator("failure_webhook")
    @classmethod
    def _over_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        if not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url

    @cached_property
    def scratch_directory(self) -> Path:
        """Local disk for what must be memory-mapped or renamed: checkpoints, and the working copy of a URL."""
        return self.scratch or Path(self.data) / ".scratch"

    @cached_property
    def root(self) -> DataRoot:
        """The data root. Raises ObjectStoreError where it is a URL that cannot be opened."""
        return DataRoot.open(self.data, self.scratch_directory)

    @property
    def home(self) -> Path:
        """The directory of the Dagster instance where DAGSTER_HOME does not name one; always on a local disk."""
        return (self.data if isinstance(self.data, Path) else self.scratch_directory) / ".dagster"

    @property
    def corpora(self) -> tuple[str, ...]:
        """The corpora in use, in the order in which their shards are read."""
        return ("wikipedia", *(["cc100"] if self.cc100_url else []), *self.folders)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises SettingsError, naming each variable, its value and what is allowed.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"JGPT_{str(problem['loc'][0]).upper()}={_shown(problem)}: {problem['msg']}" for problem in error.errors()
        ]
        raise SettingsError("\n".join(problems)) from None


def _shown(problem: ErrorDetails) -> str:
    """Return the value at fault, as far as others may read it. All of a webhook's URL is a secret."""
    value = str(problem["input"])
    if problem["loc"][0] == "failure_webhook":
        return "…"
    return _without_secrets(value) if "://" in value else value


def _without_secrets(url: str) -> str:
    """Return a URL without its user, password and query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".partition("?")[0] if url else url
