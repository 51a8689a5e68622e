"""Settings come from several places, the first of which wins; what is wrong is said at once, and no secret is shown."""

from pathlib import Path

import msgspec
import pytest

from pinnace.settings import SettingsError, StoreSettings
from pinnace_api import server_command
from pinnace_api.configuration import Setting, configured
from pinnace_api.settings import ApiSettings, shown_database_url


def origin(listing: tuple[Setting, ...], name: str) -> str:
    return next(each.origin for each in listing if each.name == name)


def mistakes(environ: dict[str, str], file: Path | None = None, *, surroundings: bool = False) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        configured(environ, file=file, surroundings=surroundings)
    return str(caught.value).splitlines()


def test_option_goes_before_environment_before_file_before_data_folder_before_default(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[api]\nport = 1\nhost = "10.0.0.1"\nlog_level = "debug"\nsweep_seconds = 1.5\n')
    environ = {"PINNACE_API_PORT": "2", "PINNACE_API_LOG_LEVEL": "error", "PINNACE_API_HOST": ""}
    made = configured(environ, options={"PINNACE_API_PORT": "3"}, file=file, data=tmp_path)
    settings = made.settings
    assert (settings.port, settings.log_level, settings.host, settings.sweep_seconds) == (3, "error", "10.0.0.1", 1.5)
    assert settings.database_url == f"sqlite:///{tmp_path}/pinnace.db"
    assert origin(made.listing, "PINNACE_API_PORT") == "command line"
    assert origin(made.listing, "PINNACE_API_LOG_LEVEL") == "environment"
    assert origin(made.listing, "PINNACE_API_HOST") == f"file {file}"
    assert origin(made.listing, "PINNACE_API_DATABASE_URL") == f"data folder {tmp_path}"
    assert origin(made.listing, "PINNACE_API_GRACE_SECONDS") == "default"


def test_the_variable_names_the_file_unless_an_option_does(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("[api]\nport = 1\n")
    other.write_text("[api]\nport = 2\n")
    environ = {"PINNACE_API_CONFIG": str(one)}
    assert configured(environ).settings.port == 1
    assert configured(environ, file=other).settings.port == 2


def test_a_secret_file_speaks_for_its_setting_in_environment_and_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("sqlite:////data/secret.db\n")
    made = configured({"PINNACE_API_DATABASE_URL_FILE": str(secret)})
    assert made.settings.database_url == "sqlite:////data/secret.db"
    assert origin(made.listing, "PINNACE_API_DATABASE_URL") == "environment, PINNACE_API_DATABASE_URL_FILE"
    file = tmp_path / "server.toml"
    file.write_text(f'[api]\ndatabase_url_file = "{secret}"\n[store]\nbucket = "runs"\nno_proxy = [".svc", "a"]\n')
    settings = configured({}, file=file).settings
    assert settings.database_url == "sqlite:////data/secret.db"
    assert settings.store == StoreSettings(bucket="runs", no_proxy=(".svc", "a"))


def test_a_setting_and_its_file_at_one_place_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sqlite:////a.db")
    environ = {"PINNACE_API_DATABASE_URL": "sqlite:////b.db", "PINNACE_API_DATABASE_URL_FILE": str(tmp_path / "url")}
    (only,) = mistakes(environ)
    assert only == (
        "PINNACE_API_DATABASE_URL and PINNACE_API_DATABASE_URL_FILE are both set (environment): take one of them away"
    )


def test_everything_that_is_wrong_is_said_at_once_with_value_and_mend(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('[api]\nport = 99999\nprot = 1\n[web]\ncolour = "red"\n')
    environ = {
        "PINNACE_API_LOG_LEVEL": "loud",
        "PINNACE_API_ARTIFACTS_BACKEND": "filesystem",
        "PINNACE_STORE_BUCKET": "Not A Bucket",
        "PINNACE_API_ADMIN_TOKEN_FILE": "/no/such/file",
        "PINNACE_API_PUBLIC_URL": "http://pinnace.example",
    }
    said = mistakes(environ, file, surroundings=True)
    assert said == [
        f"{file} has api.prot, which is no setting; is port meant?",
        f"{file} has 'web': settings stand in [api] and [store]",
        "PINNACE_STORE_BUCKET is 'Not A Bucket' (environment), and must be 3 to 63 of a-z, 0-9, . and -",
        f"PINNACE_API_PORT is '99999' (file {file}), and must be a whole number from 0 to 65535",
        "PINNACE_API_LOG_LEVEL is 'loud' (environment), and must be one of debug, info, warning, error",
        "PINNACE_API_ARTIFACTS_BACKEND is filesystem, and artifacts_dir is not set",
        "PINNACE_API_PUBLIC_URL must be https: over http anybody on the way reads passwords and tokens",
        "PINNACE_API_ADMIN_TOKEN_FILE is '/no/such/file', which can't be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read: No such file"),
        ("port = ", "is not TOML"),
        ("[api]\nport = 1979-05-27\n", "neither plain nor a list"),
        ("[api]\nhost = [[1]]\n", "neither plain nor a list"),
        ("api = 3\n", "settings stand in [api] and [store]"),
    ],
)
def test_a_wrong_file_is_a_sentence(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "server.toml"
    if content is not None:
        file.write_text(content)
    (only,) = mistakes({}, file)
    assert words in only


@pytest.mark.parametrize(
    ("environ", "secret"),
    [
        ({"PINNACE_API_DATABASE_URL": "mssql://a:hunter2@b/c"}, "hunter2"),
        ({"PINNACE_API_DATABASE_URL": "hunter2" * 400}, "hunter2"),
        ({"PINNACE_API_DATABASE_URL_FILE": "hunter2"}, "hunter2"),
        ({"PINNACE_API_ADMIN_TOKEN_FILE": "hunter2"}, "hunter2"),
        ({"PINNACE_STORE_BUCKET": "runs", "PINNACE_STORE_PROXY": "https://me:hunter2@proxy"}, "hunter2"),
    ],
)
def test_no_mistake_shows_a_secret(environ: dict[str, str], secret: str) -> None:
    (only,) = mistakes(environ, surroundings=True)
    assert secret not in only


def test_the_listing_has_every_setting_and_hides_secrets() -> None:
    environ = {
        "PINNACE_API_DATABASE_URL": "postgresql://me:hunter2@db/pinnace?sslpassword=hunter2&sslmode=require",
        "PINNACE_STORE_BUCKET": "runs",
        "PINNACE_STORE_PROXY": "http://me:hunter2@proxy:3128",
    }
    listing = configured(environ).listing
    shown = {each.name: each.value for each in listing}
    assert "hunter2" not in str(shown)
    assert shown["PINNACE_API_DATABASE_URL"].startswith("postgresql://me:***@db/pinnace?")
    assert shown["PINNACE_STORE_PROXY"] == "http://***@proxy:3128"
    fields = {f"PINNACE_API_{field.name.upper()}" for field in msgspec.structs.fields(ApiSettings)}
    fields |= {f"PINNACE_STORE_{field.name.upper()}" for field in msgspec.structs.fields(StoreSettings)}
    assert shown.keys() == fields - {"PINNACE_API_STORE"}


def test_what_is_no_url_is_not_shown_at_all() -> None:
    assert shown_database_url("hunter2") == "***"


def test_for_people_the_listing_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"PINNACE_API_PORT": "9000", "PINNACE_API_DATABASE_URL": "postgresql://me:hunter2@db/pinnace"}
    assert server_command.main(["--print-config"], environ, at_home=False) == 0
    shown = capsys.readouterr().out
    lines = [line.split(maxsplit=2) for line in shown.splitlines()]
    assert ["PINNACE_API_PORT", "9000", "(environment)"] in lines
    assert ["PINNACE_API_OIDC_ISSUER", "-", "(default)"] in lines
    assert "hunter2" not in shown


def test_each_wrong_setting_is_a_line_on_standard_error_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"PINNACE_API_PORT": "many", "PINNACE_API_LOG_FORMAT": "xml"}
    assert server_command.main([], environ, at_home=False) == 2
    assert capsys.readouterr().err.splitlines() == [
        "PINNACE_API_PORT is 'many' (environment), and must be a whole number from 0 to 65535",
        "PINNACE_API_LOG_FORMAT is 'xml' (environment), and must be one of text, json",
    ]
