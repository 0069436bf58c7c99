"""Settings: where they come from, what is refused and how, and that the README tells them all."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Environment, LogFormat, Settings, SettingsError, read_settings, settings_table

ROOT = Path(__file__).parents[1]
PASSWORD = "correct-horse"
DATABASE_URL = f"postgresql://shop:{PASSWORD}@db.example:5432/shop"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the variables nor the `.env` of whoever runs the tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    return str(caught.value)


def test_nothing_has_to_be_set() -> None:
    settings = read_settings()
    assert (settings.host, settings.port, settings.database_url, settings.data_dir) == ("127.0.0.1", 8000, None, Path(".data"))


@pytest.mark.parametrize(("environment", "shown", "log_format"), [("development", True, "console"), ("Production", False, "json")])
def test_the_environment_decides_what_developers_see(
    monkeypatch: pytest.MonkeyPatch, environment: str, shown: bool, log_format: str
) -> None:
    monkeypatch.setenv("ENVIRONMENT", environment)
    settings = read_settings()
    assert settings.is_production is not shown
    assert (settings.demo_data, settings.graphiql, settings.introspection) == (shown, shown, shown)
    assert settings.log_format == log_format


def test_what_is_said_wins_over_what_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("GRAPHIQL", "true")
    monkeypatch.setenv("LOG_FORMAT", "console")
    settings = read_settings()
    assert settings.graphiql
    assert settings.log_format is LogFormat.CONSOLE


def test_arguments_win_over_the_environment_and_the_environment_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=1\nMAX_DEPTH=2\nMAX_COST=3\nPOSTGRES_PASSWORD=of-another-program\n")
    monkeypatch.setenv("PORT", "10")
    monkeypatch.setenv("MAX_DEPTH", "20")
    settings = read_settings(port=100)
    assert (settings.port, settings.max_depth, settings.max_cost) == (100, 20, 3)


@pytest.mark.parametrize("by_argument", [False, True])
def test_production_reads_no_file(monkeypatch: pytest.MonkeyPatch, by_argument: bool) -> None:
    Path(".env").write_text("ENVIRONMENT=development\nPORT=1\nGRAPHIQL=true\n")
    if by_argument:
        settings = read_settings(environment=Environment.PRODUCTION)
    else:
        monkeypatch.setenv("ENVIRONMENT", "production")
        settings = read_settings()
    assert (settings.is_production, settings.port, settings.graphiql) == (True, 8000, False)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("PORT", "")
    settings = read_settings()
    assert (settings.database_url, settings.port) == (None, 8000)


def test_the_data_folder_may_be_below_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA_DIR", "~/shop")
    assert read_settings().data_dir == tmp_path / "shop"


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://shop.example, http://localhost:5173,")
    assert read_settings().cors_origins == ("https://shop.example", "http://localhost:5173")


@pytest.mark.parametrize(
    "url",
    [
        "postgres://shop@localhost/shop",
        "postgresql://shop:p%40ss@[::1]:5433/shop?sslmode=require",
        "postgresql:///shop?host=/run/postgresql",
    ],
)
def test_database_urls(url: str) -> None:
    settings = read_settings(database_url=url)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("ENVIRONMENT", "staging", "'development' or 'production'"),
        ("PORT", "65536", "less than or equal to 65535 (it is '65536')"),
        ("PORT", "-1", "greater than or equal to 0"),
        ("PORT", "http", "valid integer"),
        ("WORKERS", "0", "greater than or equal to 1"),
        ("REQUEST_TIMEOUT", "0", "greater than 0"),
        ("REQUEST_TIMEOUT", "nan", "finite number"),
        ("REQUEST_TIMEOUT", "inf", "finite number"),
        ("GRAPHIQL", "maybe", "valid boolean"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("DATABASE_URL", "mysql://localhost/shop", "must be a URL like postgresql://"),
        ("DATABASE_URL", "postgresql://localhost:0x1/shop", "must be a URL like postgresql://"),
        ("DATABASE_URL", "postgresql://localhost", "must name a database"),
        ("REDIS_URL", "localhost:6379", "must be a URL like redis://"),
        ("REDIS_URL", "redis://", "must name a host"),
        ("STORAGE_URL", "https://files.example.com", "must be a URL like s3://"),
        ("STORAGE_URL", "s3://key:secret@bucket", "must name a bucket, and no keys"),
        ("STORAGE_URL", "s3://bucket?secret_access_key=x", "may have no other options than endpoint"),
        ("STORAGE_ACCESS_KEY_ID", "AKIA", "STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY go together"),
        ("CLICKHOUSE_URL", "clickhouse:8123", "must be a URL like http://"),
        ("CLICKHOUSE_URL", "http://clickhouse:8123/events", "must name a host and no database"),
        ("CLICKHOUSE_DATABASE", "a`; DROP", "should match pattern"),
        ("CORS_ORIGINS", "*", "must be a URL like https://shop.example"),
        ("CORS_ORIGINS", "https://shop.example/", "must be origins like https://shop.example"),
        ("DATABASE_POOL_MIN", "11", "must not exceed DATABASE_POOL_MAX (10)"),
        ("SESSION_IDLE_TIMEOUT", "86401", "must not exceed SESSION_LIFETIME (86400)"),
        ("SECRET_KEY", f"{'n' * 32},{'o' * 31}", "must be keys of at least 32 characters"),
        ("MAIL_URL", "mail.example:25", "must be a URL like smtp://"),
        ("MAIL_URL", "smtp://", "must name a host"),
        ("MAIL_URL", "smtp://mail.example/?starttls=maybe", "no other option than ?starttls=never"),
        ("MAIL_FROM", "the shop", "must be an address like Shop <no-reply@shop.example>"),
        ("PUBLIC_URL", "shop.example", "must be a URL like https://shop.example"),
        ("PUBLIC_URL", "https://shop.example/?page=1", "without a query"),
        ("ARGON2_MEMORY_KIB", "31", "at least 8 times ARGON2_PARALLELISM, 32"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str) -> None:
    message = refusal(monkeypatch, **{variable: value})
    assert message.startswith(variable)
    assert reason in message
    assert "\n" not in message


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, ENVIRONMENT="staging", PORT="x", MAX_DEPTH="0")
    assert [line.partition(":")[0] for line in message.splitlines()] == ["ENVIRONMENT", "PORT", "MAX_DEPTH"]


@pytest.mark.parametrize(("variable", "value"), [("ARGON2_MEMORY_KIB", "19455"), ("ARGON2_TIME_COST", "1")])
def test_production_refuses_weak_password_hashes(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    read_settings()
    assert refusal(monkeypatch, ENVIRONMENT="production").startswith(f"{variable} must be at least")


def test_production_mails_have_a_sender_and_lead_to_a_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"ENVIRONMENT": "production", "MAIL_URL": "smtps://mail.example", "MAIL_FROM": "no-reply@shop.example"}
    assert refusal(monkeypatch, **given) == "PUBLIC_URL must be set in production when MAIL_URL is"
    assert refusal(monkeypatch, PUBLIC_URL="https://shop.example") == "SECRET_KEY must be set in production when MAIL_URL is"
    monkeypatch.setenv("SECRET_KEY", f"{'n' * 32},{'o' * 32}")
    monkeypatch.setenv("PUBLIC_URL", "https://shop.example/")
    assert read_settings().link_keys == ["n" * 32, "o" * 32]
    assert read_settings().public_url == "https://shop.example"


def test_a_cluster_has_a_name_and_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, CLICKHOUSE_SHARDED="true") == "CLICKHOUSE_CLUSTER must name the cluster when CLICKHOUSE_SHARDED is true"
    unreached = refusal(monkeypatch, CLICKHOUSE_CLUSTER="shop")
    assert unreached == "CLICKHOUSE_URL must say where the cluster is when CLICKHOUSE_CLUSTER names one"


@pytest.mark.parametrize(
    ("given", "here"), [({}, True), ({"database_url": DATABASE_URL}, False), ({"database_url": DATABASE_URL, "run_jobs": True}, True)]
)
def test_jobs_run_where_no_worker_could(given: dict[str, object], here: bool) -> None:
    assert read_settings(**given).jobs_run_here is here


def test_secrets_are_not_printed() -> None:
    settings = read_settings(
        mail_url=f"smtp://shop:{PASSWORD}@mail.example",
        database_url=DATABASE_URL,
        redis_url=f"redis://:{PASSWORD}@cache.example",
    )
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert PASSWORD not in shown


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL", "MAIL_URL", "CLICKHOUSE_URL"])
def test_secrets_are_not_in_errors(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    message = refusal(monkeypatch, **{variable: f"ftp://shop:{PASSWORD}@host/x"})
    assert message.startswith(f"{variable}: must be a URL like ")
    assert PASSWORD not in message
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert PASSWORD not in str(caught.value)


def test_settings_do_not_change() -> None:
    settings = read_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not (field.description or "").endswith(".")] == []


def test_the_table_says_what_depends_on_the_environment() -> None:
    lines = settings_table().splitlines()
    assert "| `PORT` | `8000` | Port to listen on; 0 takes a free one. |" in lines
    assert any(line.startswith("| `DEMO_DATA` | `true` in development, `false` in production |") for line in lines)
    assert any(line.startswith("| `DATABASE_URL` | none |") for line in lines)


def test_the_table_in_the_readme_is_up_to_date() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "app.settings"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("<!-- settings -->\n")[2].partition("<!-- /settings -->")[0]
    assert table == printed, "put the output of `python -m app.settings` between the settings marks of README.md"
