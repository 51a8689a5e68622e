"""Where the operator finds its API server, and whose word it gives there."""

from pathlib import Path

import kopf
import pytest
import yaml

from pinnace_operator import kubernetes_api
from pinnace_operator.connection import login
from pinnace_operator.kubernetes_cluster import KubernetesCluster
from pinnace_operator.ports import ClusterError, UnavailableError


@pytest.mark.parametrize(
    ("environ", "server"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}, "https://10.96.0.1:6443"),
        ({"KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:443"),
        ({}, "https://kubernetes.default.svc"),
    ],
)
def test_in_a_pod_it_is_where_the_kubelet_says(
    environ: dict[str, str], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: account)
    found = login(environ)
    assert (found.server, found.as_http_headers()) == (server, {"Authorization": "Bearer t"})


def test_elsewhere_it_is_where_the_kubeconfig_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config"
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://example.test:6443"}}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    found = login({})
    assert (found.server, found.token) == ("https://example.test:6443", "secret")


def test_where_nothing_says_it_the_error_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(kopf.LoginError, match="set KUBECONFIG"):
        login({})


def test_a_token_that_was_rotated_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_api, "FRESH_S", -1.0)
    tokens = iter(["first", "second"])

    def rotated() -> kopf.ConnectionInfo:
        token = next(tokens, "")
        if not token:
            raise kopf.LoginError("there is no service account")
        return kopf.ConnectionInfo(server="http://127.0.0.1:9", token=token)

    cluster = KubernetesCluster(rotated)
    assert cluster._authorization() == {"Authorization": "Bearer second"}
    with pytest.raises(ClusterError, match="can't log in") as refused:
        cluster.lease("default", "x")
    assert isinstance(refused.value, UnavailableError)
