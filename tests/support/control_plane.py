"""A Kubernetes API server of the tests' own: etcd, kube-apiserver and, if wanted, kube-controller-manager as processes.

There is no node: pods stay Pending until a test writes their status. It starts in some seconds, beside any cluster,
and keeps its data in a folder of the test's.
"""

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import kopf
import urllib3
import yaml

from support.eventually import eventually
from support.ports import free_ports
from support.tools import tool

#: The controllers that act on what tests look at; those that need nodes or clouds are left out.
CONTROLLERS = (
    "job-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "resourcequota-controller",
    "persistentvolumeclaim-protection-controller",
    "ttl-after-finished-controller",
    "clusterrole-aggregation-controller",
)

START_S = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """Where it listens. `kubeconfig` and `token` are an administrator's, for whom no limit of the server holds, and
    those of `member` are of one who is in the group `members` alone; `audit_log` has one JSON object for each request.
    """

    url: str
    token: str
    kubeconfig: Path
    member_token: str
    member_kubeconfig: Path
    authority: Path
    audit_log: Path
    etcd_url: str
    api_server: "Server"

    def login(self) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=self.url, ca_path=str(self.authority), token=self.token)

    def compact(self) -> None:
        """Have etcd forget every version but the present one."""
        http = urllib3.PoolManager(retries=False, timeout=5.0)
        known = http.request("POST", f"{self.etcd_url}/v3/kv/range", json={"key": "AA=="}).json()
        body = {"revision": known["header"]["revision"], "physical": True}
        answer = http.request("POST", f"{self.etcd_url}/v3/kv/compaction", json=body)
        assert answer.status == 200, answer.data

    def wait_until_ready(self) -> None:
        eventually(self.ready, timeout=START_S, interval=0.2, what=f"the API server on {self.url} is ready")

    def ready(self) -> bool:
        http = urllib3.PoolManager(ca_certs=str(self.authority), retries=False, timeout=5.0)
        try:
            answer = http.request("GET", f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"})
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        return answer.status == 200


class Server:
    """One of the processes; a test may end it and start it again."""

    def __init__(self, log: Path, command: Sequence[str]) -> None:
        self._log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """With further arguments."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen([*self._command, *arguments], stdout=output, stderr=subprocess.STDOUT)

    def end(self) -> None:
        """Safe to call twice."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@contextmanager
def control_plane(
    folder: Path, *, controllers: Sequence[str] = (), arguments: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """Start one with its files in `folder`; it ends with the block. `arguments` go to kube-apiserver as they are."""
    kube = tool("kube")
    port, etcd, peers = free_ports(3)
    token = secrets.token_hex(16)
    etcd_url = f"http://127.0.0.1:{etcd}"
    plane = ControlPlane(
        url=f"https://127.0.0.1:{port}",
        token=token,
        kubeconfig=folder / "kubeconfig",
        member_token=secrets.token_hex(16),
        member_kubeconfig=folder / "kubeconfig-of-a-member",
        authority=folder / "certificates/apiserver.crt",
        audit_log=folder / "audit.jsonl",
        etcd_url=etcd_url,
        api_server=Server(
            folder / "apiserver.log",
            [
                *(kube, "kube-apiserver", f"--etcd-servers={etcd_url}", f"--secure-port={port}"),
                *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--authorization-mode=RBAC"),
                *(f"--cert-dir={folder / 'certificates'}", f"--token-auth-file={folder / 'tokens.csv'}"),
                *("--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/16"),
                f"--service-account-key-file={folder / 'service-accounts.key'}",
                f"--service-account-signing-key-file={folder / 'service-accounts.key'}",
                *(f"--audit-policy-file={folder / 'audit.yaml'}", f"--audit-log-path={folder / 'audit.jsonl'}"),
                *arguments,
            ],
        ),
    )
    _write_files(folder, plane)
    with ExitStack() as processes:
        keeper = Server(
            folder / "etcd.log",
            [kube, "etcd", f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"]
            + [f"--{name}={etcd_url}" for name in ("listen-client-urls", "advertise-client-urls")]
            + [f"--{name}=http://127.0.0.1:{peers}" for name in ("listen-peer-urls", "initial-advertise-peer-urls")]
            + [f"--initial-cluster=default=http://127.0.0.1:{peers}"],
        )
        for server in (keeper, plane.api_server):
            processes.callback(server.end)
            server.start()
        plane.wait_until_ready()
        if controllers:
            acting = Server(
                folder / "controllers.log",
                [
                    *(kube, "kube-controller-manager", f"--kubeconfig={plane.kubeconfig}", "--leader-elect=false"),
                    *(f"--controllers={','.join(controllers)}", "--secure-port=0", "--kube-api-qps=500"),
                    *("--kube-api-burst=1000", "--concurrent-job-syncs=20"),
                    f"--service-account-private-key-file={folder / 'service-accounts.key'}",
                    f"--root-ca-file={plane.authority}",
                ],
            )
            processes.callback(acting.end)
            acting.start()
        yield plane


def _write_files(folder: Path, plane: ControlPlane) -> None:
    (folder / "tokens.csv").write_text(
        f'{plane.token},admin,admin,"system:masters"\n{plane.member_token},member,member,"members"\n'
    )
    subprocess.run(
        [tool("openssl"), "genrsa", "-out", str(folder / "service-accounts.key"), "2048"],
        check=True,
        capture_output=True,
    )
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }
    (folder / "audit.yaml").write_text(yaml.safe_dump(policy))
    # The server makes its certificate when it starts, and this file is read afterwards.
    cluster = {"server": plane.url, "certificate-authority": str(plane.authority)}
    for file, token in ((plane.kubeconfig, plane.token), (plane.member_kubeconfig, plane.member_token)):
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "user"}}],
        }
        file.write_text(yaml.safe_dump(config))
