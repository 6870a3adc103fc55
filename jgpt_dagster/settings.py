"""Every setting from the environment (prefix `JGPT_`). A setting of one asset alone is a field of its run config."""

import ipaddress
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jgpt_dagster.catalog.corpora import RESERVED_NAMES, Corpus, configured_corpora
from jgpt_dagster.catalog.output_catalog import OutputCatalog
from jgpt_dagster.corpus.segmenters import segmenter_names
from jgpt_dagster.corpus.text_profile import TextProfile
from jgpt_dagster.errors import JgptError
from jgpt_dagster.lm.model.presets import PRESETS
from jgpt_dagster.runtime.number_bounds import problem_text
from jgpt_dagster.runtime.resource_limits import available_cores
from jgpt_dagster.storage.data_root import PINNED, DataRoot, shard_names
from jgpt_dagster.storage.safe_path import UnsafeNameError, require_form

# Name of a folder corpus; it becomes part of asset keys.
_CORPUS = re.compile(rf"(?!({'|'.join(RESERVED_NAMES)})$)[a-z][a-z0-9_]*")

_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class SettingsError(JgptError):
    """A `JGPT_` variable holds a value that is out of range."""


class Settings(BaseSettings):
    """The settings of a deployment. Names, defaults and meanings are the table in the README."""

    model_config = SettingsConfigDict(env_prefix="JGPT_", frozen=True, extra="ignore")

    data: Path | str = Field(
        default="data",
        validate_default=True,
        description="Root of all data: a directory, or the URL of an object store.",
    )
    scratch: Path | None = Field(
        default=None,
        validate_default=True,
        description="Local disk for checkpoints and, if the data root is a URL, for this machine's copy of it.",
    )
    shared_scratch: bool = Field(
        default=False,
        description="Train although other users can write to the scratch directory: they could run code with your "
        "account.",
    )
    wiki: str = Field(default="jawiki", pattern=r"^[a-z][a-z0-9_]*$", description="Database name of the wiki.")
    dumps_url: str = Field(
        default="https://dumps.wikimedia.org",
        description="Mirror of the Wikimedia dumps; `http://`, `https://` or `file://`.",
    )
    # It goes into a header of every request: an email address or a URL, in printable ASCII.
    contact: str = Field(
        default="",
        pattern=r"^((https?://|[!-'*-?A-~]+@)[!-'*-~]+)?$",
        description="Your email address, or the URL of a page about you. It is sent with every download request, as "
        "Wikimedia requires.",
    )
    cc100_url: str = Field(
        default="https://data.statmt.org/cc-100/ja.txt.xz",
        description="Address of CC-100, a `.txt.xz`; empty: no CC-100.",
    )
    # Its publisher gives no checksum, so there is no default.
    cc100_sha256: str = Field(
        default="",
        pattern=r"^([0-9a-fA-F]{64})?$",
        description="What the sha256 of that archive must be. Without it, the sha256 of the first download is required "
        "of every later one from the same address.",
    )
    folders: Annotated[Mapping[str, Path], NoDecode] = Field(
        default_factory=dict,
        description="Corpora of your own in addition to the two: `NAME=FOLDER`, several separated by commas.",
    )
    shards: int = Field(default=64, ge=1, le=99, description="Shards per corpus, 1 to 99.")
    segmenter: str = Field(
        default="mecab",
        description="`mecab` (fugashi and JumanDIC, installed with the package) or `jumanpp` (the Juman++ 2 program).",
    )
    text: TextProfile = Field(
        default="clean",
        description="Text profile. `seed`: the published recipe to the letter; `clean`: the same with its known faults "
        "corrected.",
    )
    model: str = Field(
        default="xl",
        description=f"Name of the model: a preset ({', '.join(f'`{name}`' for name in PRESETS)}), or a name of your "
        "own, for which the run config of `pretrained_model` gives the preset.",
    )
    workers: int = Field(
        default_factory=available_cores,
        ge=1,
        le=1_024,
        description="Processes that a stage may use; the CPU limit of a container or service counts.",
    )
    refresh: Literal["on", "off"] = Field(
        default="on",
        description="`on`: wherever Dagster's daemon runs (`jgpt ui`), new dumps are fetched and processed up to the "
        "training set; `off`: only by hand.",
    )
    poll_hours: float = Field(
        default=6, gt=0, le=8_760, description="Hours between two checks of the mirror for a new dump."
    )
    run_config: Path | None = Field(
        default=None,
        description="Run config file of runs that start automatically, and the default of `jgpt run --config`.",
    )
    keep_runs_days: float = Field(
        default=90,
        ge=0,
        le=36_500,
        description="Days for which `jgpt prune` keeps Dagster's records of runs that made nothing.",
    )
    failure_webhook: SecretStr | None = Field(
        default=None,
        description="URL to which the daemon posts every failed run as JSON (run, assets, partition, error, the "
        "command that repeats it). It is kept secret.",
    )
    # Dagster takes no other form of owner.
    owner: str = Field(
        default="team:jgpt",
        pattern=r"^(team:[\w.-]+|[^@\s]+@[^@\s]+)$",
        description="Owner that the UI names for every asset: `team:NAME` or an email address.",
    )
    processes: int = Field(
        default=0,
        ge=0,
        le=1_024,
        description="Training processes on each host; by default one per GPU, or 1 without a GPU.",
    )
    training_variables: str = Field(
        default="",
        pattern=r"^(\w+(\s*,\s*\w+)*)?$",
        description="Further environment variables that training processes on this host get, separated by commas.",
    )
    tasks: Path | None = Field(
        default=None,
        description="Folder with files of evaluation tasks that you have fetched, for `jgpt evaluate --tasks`.",
    )
    hostfile: Path | None = Field(default=None, description="DeepSpeed hostfile, to train on several hosts.")
    ui_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names under which browsers reach the UI, separated by commas, in addition to loopback and the "
        "address that it listens on.",
    )

    @field_validator("data", "scratch", "dumps_url", "run_config", "hostfile", "tasks", mode="before")
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

    @field_validator("ui_hosts", mode="before")
    @classmethod
    def _host_names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        # URLs write an IPv6 address in brackets.
        names = [name.strip().strip("[]").lower() for name in value.split(",") if name.strip()]
        if not all(_HOST_NAME.fullmatch(name) or _is_ipv6(name) for name in names):
            raise ValueError("must be host names or addresses separated by commas, without scheme, port or wildcard")
        return tuple(names)

    @field_validator("scratch", "run_config", "hostfile", "tasks")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @field_validator("scratch")
    @classmethod
    def _beside_url(cls, scratch: Path | None, others: ValidationInfo) -> Path | None:
        if scratch is None and isinstance(others.data.get("data"), str):
            raise ValueError("JGPT_DATA is a URL, which needs a local directory for this machine's copy of it")
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
                "must hold no user, password or query, because it is recorded with what is made of it. Put a "
                "password into ~/.netrc; download what needs a query yourself and give its file:// URL"
            )
        return url.rstrip("/")

    @field_validator("model")
    @classmethod
    def _named(cls, model: str) -> str:
        try:
            return require_form("model", model)
        except UnsafeNameError as error:
            raise ValueError(str(error)) from None

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
        """The data root. Raises ObjectStoreError if it is a URL that cannot be opened."""
        return DataRoot.open(self.data, self.scratch_directory)

    @property
    def fixed(self) -> dict[str, str | int]:
        """The settings that one data root cannot mix."""
        return {name: getattr(self, name) for name in PINNED}

    @property
    def home(self) -> Path:
        """The directory of the Dagster instance unless DAGSTER_HOME names one; always on a local disk."""
        return (self.data if isinstance(self.data, Path) else self.scratch_directory) / ".dagster"

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        """The corpora in use, in the order in which training reads their shards."""
        return configured_corpora(self.wiki, self.cc100_url, self.folders, self.cc100_sha256.lower())

    @property
    def catalog(self) -> OutputCatalog:
        """The outputs of this deployment. Raises ObjectStoreError if the data root is a URL that cannot be opened."""
        return OutputCatalog(self.root, self.corpora, tuple(shard_names(self.shards)), self.model)


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises SettingsError, naming each variable, its value and what is allowed.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"JGPT_{str(problem['loc'][0]).upper()}={_shown(problem)}: "
            f"{problem_text(problem, Settings.model_fields.get(str(problem['loc'][0])))}"
            for problem in error.errors()
        ]
        raise SettingsError("\n".join(problems)) from None


def _shown(problem: ErrorDetails) -> str:
    """Return the wrong value without its secrets. A webhook's whole URL is a secret."""
    value = str(problem["input"])
    if problem["loc"][0] == "failure_webhook":
        return "…"
    return _without_secrets(value) if "://" in value else value


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False


def _without_secrets(url: str) -> str:
    """Return a URL without its user, password and query."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}".partition("?")[0] if url else url
