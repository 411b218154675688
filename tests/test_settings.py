"""What an operator may set, and what is refused."""

import os

import pytest

from stt_server.errors import StartupError
from stt_server.settings import Settings, available_cpus, forget_environment, ignored_settings, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings.model_fields, "HF_TOKEN"):
        monkeypatch.delenv(name.upper(), raising=False)


def test_defaults_are_safe() -> None:
    """Without settings the server listens on this machine only and fetches from no private address."""
    settings = load_settings()
    assert settings.host == "127.0.0.1"
    assert settings.fetch_allow_hosts == ()
    assert settings.cors_origins == ()
    assert settings.threads == available_cpus() >= 1


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and empty parts do not matter."""
    monkeypatch.setenv("FETCH_ALLOW_HOSTS", "pbx.local, 10.0.0.0/8,,")
    monkeypatch.setenv("API_KEYS", "one, clinic:two")
    settings = load_settings()
    assert settings.fetch_allow_hosts == ("pbx.local", "10.0.0.0/8")
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "clinic:two"]


def test_an_empty_variable_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """docker-compose passes empty strings for what is not set."""
    monkeypatch.setenv("MAX_QUEUE_SIZE", "")
    assert load_settings().max_queue_size == 100


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("MAX_QUEUE_SIZE", "0"),
        ("LOG_LEVEL", "loud"),
        ("THREADS", "none"),
        ("AUTH", "maybe"),
        ("TEXT_RETENTION_DAYS", "-1"),
        ("FETCH_INSECURE_HOSTS", "not-allowed.example"),
        ("CORS_ORIGINS", "wazo.example.org"),
        ("CORS_ORIGINS", "https://wazo.example.org/page"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The message says which variable to mend."""
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match=name):
        load_settings()


def test_origins_as_browsers_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, extensions, everybody; a final slash does no harm."""
    origins = ("https://wazo.example.org/", "http://localhost:3000", "moz-extension://0f1d-22", "null", "*")
    monkeypatch.setenv("CORS_ORIGINS", ", ".join(origins))
    assert load_settings().cors_origins == origins


def test_open_to_the_network_only_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond loopback the server wants keys, or AUTH=off written out."""
    monkeypatch.setenv("HOST", "0.0.0.0")
    with pytest.raises(StartupError, match=r"not valid\. HOST=0\.0\.0\.0 .* AUTH=off"):
        load_settings()
    monkeypatch.setenv("AUTH", "off")
    assert load_settings().host == "0.0.0.0"
    monkeypatch.setenv("API_KEYS", "secret")
    with pytest.raises(StartupError, match="AUTH=off lets everybody in"):
        load_settings()
    monkeypatch.setenv("AUTH", "on")
    monkeypatch.setenv("API_KEYS", "secret")
    assert load_settings().host == "0.0.0.0"


def test_keys_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings' own text nor an error about them holds a key."""
    monkeypatch.setenv("API_KEYS", "hunter2")
    assert "hunter2" not in repr(load_settings())
    monkeypatch.setenv("PORT", "x")
    with pytest.raises(StartupError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_names_of_the_old_server_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that means nothing here yet is listed, to be warned about."""
    monkeypatch.setenv("HF_TOKEN", "x")
    assert ignored_settings() == ["HF_TOKEN"]


def test_the_environment_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What libraries need stays; no setting does, and nothing that nobody here has heard of."""
    kept = {"PATH": "/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": "/x", "OMP_NUM_THREADS": "1", "TMPDIR": "/tmp"}
    secret = ("API_KEYS", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PATH_TO_KEY", "FETCH_TIMEOUT_SECS", "DATABASE_URL")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ |= {**kept, **dict.fromkeys(secret, "secret")}
    forget_environment()
    assert {name: os.environ.get(name) for name in kept} == kept
    assert "secret" not in os.environ.values()
