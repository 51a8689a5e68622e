"""compose.yaml: it fits the programs that it starts; whether it runs is for a machine with an engine to show."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from cluster import images
from cluster.settings import ROOT
from pinnace.settings import STORE_PREFIX, StoreSettings, names_of
from pinnace_api.configuration import configured
from pinnace_api.settings import PREFIX, ApiSettings
from support.minio_server import minio_server

TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_the_api_starts_with_what_it_is_given() -> None:
    given = {name: re.sub(r"\$\{\w+[^}]*\}", "word", value) for name, value in SERVICES["api"]["environment"].items()}
    known = {*names_of(ApiSettings, PREFIX), *names_of(StoreSettings, STORE_PREFIX)}
    assert {name for name in given if name.startswith("PINNACE_")} <= known
    settings = configured(given).settings
    assert settings.database_url == "postgresql://pinnace:word@database/pinnace"
    assert settings.artifacts_backend == "s3"
    assert settings.store == StoreSettings(endpoint="http://store:9000", bucket="pinnace")
    assert settings.setup_token_file, "the one-time token would be in the log"


def test_images_are_this_repositorys_own_or_have_a_plain_name() -> None:
    own = {images.MINIO_IMAGE, *(product.image for product in images.PRODUCTS)}
    used = {service["image"] for service in SERVICES.values()}
    assert used - own == {"postgres:17"}
    assert all("." not in image.split("/")[0] for image in used)


def test_what_services_refer_to_is_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in COMPOSE["volumes"]


def test_only_this_computer_reaches_it_and_no_password_is_written_down() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    secrets = [line for line in TEXT.splitlines() if re.search(r"(PASSWORD|SECRET_ACCESS_KEY): ", line)]
    assert len(secrets) == 3
    assert all("${" in line for line in secrets)


def test_requests_get_their_time_to_end() -> None:
    seconds = int(SERVICES["api"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= ApiSettings().grace_seconds + 40


def test_health_is_asked_where_the_api_answers() -> None:
    code = SERVICES["api"]["healthcheck"]["test"][-1]
    compile(code, "healthcheck", "exec")
    assert f"http://127.0.0.1:{ApiSettings().port}/readyz" in code


def test_the_bucket_is_made_and_found_the_second_time(tmp_path: Path) -> None:
    with minio_server(tmp_path) as minio:
        code = SERVICES["bucket"]["command"][0].replace("http://store:9000", minio.endpoint)
        key = {"AWS_ACCESS_KEY_ID": minio.root_user, "AWS_SECRET_ACCESS_KEY": minio.root_password}
        for _ in range(2):
            subprocess.run([sys.executable, "-c", code], env=key, check=True, timeout=60)
        assert (tmp_path / "data" / "pinnace").is_dir()
