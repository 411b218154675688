"""Every setting: its default, its range, what it is for. The only reader of the environment."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stt_server.errors import StartupError

MIB = 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
IGNORED = ("ENABLE_VAD", "VAD_MODEL", "VAD_PATH", "ENABLE_DIARIZATION", "DIARIZATION_MODEL", "HF_TOKEN")
"""Names of the server this one replaces that mean nothing here yet; they are warned about."""

_HARMLESS = re.compile(
    "PATH|HOME|USER|LANG|LANGUAGE|LC_.*|TZ|TERM|TMPDIR|TMP|TEMP|VIRTUAL_ENV|SYSTEMROOT|SSL_CERT_(FILE|DIR)"
    "|(LD|DYLD|PYTHON|MALLOC|GLIBC|OPENBLAS|OMP|GOMP|KMP|MKL|ORT|CUDA|NVIDIA).*"
)
"""What Python and the libraries look for in the environment, none of it secret."""

_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s]+/?", re.IGNORECASE)
"""What a browser sends as `Origin`, of a page or an extension. A slash behind it is taken off later."""

CommaList = Annotated[tuple[str, ...], NoDecode]


def _cgroup_cpus() -> float | None:
    """CPUs' worth of time the cgroup (v2, then v1) grants, or None without a quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        folder = Path("/sys/fs/cgroup/cpu")
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return quota_us / int((folder / "cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    except (OSError, ValueError):
        return None


def available_cpus() -> int:
    """CPUs this process may use: its affinity mask, cut to the cgroup's quota, at least one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpus()
    return max(1, min(cpus, round(quota)) if quota else cpus)


class Settings(BaseSettings):
    """What an operator can change, read from environment variables of the same names in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    model_path: Path = Field(
        Path("models/parakeet"),
        description="Folder of a downloaded model. Absent or empty: the embedded model.",
    )
    model_name: str = Field("", description="Id under which the model is listed. Empty: the model's own.")
    db_path: Path = Field(
        Path("data/transcriptions.db"), description="SQLite database; the spool folder lies beside it."
    )
    max_queue_size: int = Field(100, ge=1, description="Requests that may wait; one more is answered 429.")
    max_audio_duration_secs: float = Field(14_400, gt=0, description="Longest audio accepted, in seconds.")
    max_upload_bytes: int = Field(512 * MIB, ge=1, description="Largest file accepted, uploaded or fetched.")
    text_retention_days: float = Field(
        365, ge=0, description="Texts not read for so many days are erased; 0 keeps them for ever."
    )
    fetch_allow_hosts: CommaList = Field(
        (),
        description="Names, addresses or networks, each with an optional :port, that `url` may point to."
        " Empty: every public address and no private one.",
    )
    fetch_ca_bundle: Path | None = Field(
        None, description="PEM file of certificates trusted for `url`, beside the system's."
    )
    fetch_insecure_hosts: CommaList = Field(
        (), description="Hosts of FETCH_ALLOW_HOSTS whose certificate is not checked. Last resort."
    )
    fetch_timeout_secs: float = Field(60, gt=0, le=600, description="Longest time to fetch one `url`.")
    model_mirror: str = Field("", description="Base address that model files are downloaded from instead.")
    cors_origins: CommaList = Field(
        (), description="Origins of web pages that may call this server, or *. Empty: none."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["text", "json"] = Field("text", description="Shape of a log line.")
    threads: int = Field(
        default_factory=available_cpus,
        ge=1,
        le=256,
        description="Windows recognised at a time. Default: the CPUs the cgroup grants.",
    )
    kernels: Literal["auto", "prepared", "published"] = Field(
        "auto",
        description="Form of a large 8-bit model: prepared for 8-bit instructions where this processor computes them"
        " exactly, prepared in any case, or as published.",
    )
    requests_per_minute: int | None = Field(None, ge=1, description="Requests per key and minute.")
    audio_seconds_per_day: int | None = Field(None, ge=1, description="Seconds of audio per key and day.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Comma list of keys: `key`, `tenant:key` or `tenant:sha256:<hex>`."
    )
    auth: Literal["on", "off"] = Field(
        "on", description="`off` lets everybody in: needed to listen beyond this machine without API_KEYS."
    )

    @field_validator("fetch_allow_hosts", "fetch_insecure_hosts", "cors_origins", "api_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(p.strip() for p in value.split(",") if p.strip()) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if stray := [origin for origin in value if not _ORIGIN.fullmatch(origin)]:
            raise ValueError(f"{stray[0]!r} is no origin, such as https://wazo.example.org, and would let nobody in.")
        return value

    @field_validator("log_level", "log_format", "auth", "kernels", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _insecure_hosts_are_allowed(self) -> "Settings":
        stray = set(self.fetch_insecure_hosts) - set(self.fetch_allow_hosts)
        if stray:
            raise ValueError(f"FETCH_INSECURE_HOSTS names hosts that FETCH_ALLOW_HOSTS does not: {sorted(stray)}")
        return self

    @model_validator(mode="after")
    def _open_only_on_purpose(self) -> "Settings":
        if not self.api_keys and self.auth == "on" and self.host not in LOOPBACK:
            raise ValueError(
                f"HOST={self.host} is reachable from other machines and no API_KEYS are set."
                " Set API_KEYS, or AUTH=off to let everybody in."
            )
        if self.api_keys and self.auth == "off":
            raise ValueError("API_KEYS are set, but AUTH=off lets everybody in. Remove one of them.")
        return self

    @property
    def spool_path(self) -> Path:
        """Folder of the audio being worked on, beside the database."""
        return self.db_path.parent / "spool"


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; what the command line says goes before it.

    Raises `StartupError`, naming each variable that is wrong, never its value where that is a secret.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = (
            f"{'.'.join(str(part) for part in e['loc']).upper()}: {e['msg'].removeprefix('Value error, ')}".lstrip(": ")
            for e in error.errors(include_input=False, include_url=False)
        )
        raise StartupError("Settings are not valid. " + "; ".join(lines)) from None


def ignored_settings() -> list[str]:
    """Names set in the environment that mean nothing here yet."""
    return [name for name in IGNORED if os.environ.get(name)]


def forget_environment() -> None:
    """Leave in the environment only what libraries need. Children then start without keys, tokens and passwords.

    Call it once the settings are read, before the first child. What this process was started with stays where the
    kernel keeps it; a confined child cannot read that.
    """
    for name in set(os.environ):
        if not _HARMLESS.fullmatch(name.upper()):
            del os.environ[name]
