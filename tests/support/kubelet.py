"""What an API server asks of a kubelet when somebody wants a log: a node of the tests' own that answers."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cluster.kubectl import apply, kubectl
from support.certificate import make_certificate

NODE = "a-node"


@contextmanager
def kubelet(folder: Path, logs: Mapping[str, str]) -> Iterator[None]:
    """A node whose kubelet has `logs`, by NAMESPACE/POD/CONTAINER; pods get there by `bind`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            name = parts.path.removeprefix("/containerLogs/")
            lines = logs.get(name, "").splitlines(keepends=True)
            if tail := parse_qs(parts.query).get("tailLines"):
                lines = lines[-int(tail[0]) :]
            self.send_response(200 if name in logs else 404)
            self.end_headers()
            self.wfile.write("".join(lines).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    certificates = make_certificate(folder / "kubelet")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "public.crt", certificates / "private.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="kubelet", daemon=True)
    thread.start()
    try:
        apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": server.server_address[1]}},
        }
        _patch_status("node", NODE, status)
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def bind(pod: str, namespace: str) -> None:
    """Put the pod on the node, as a scheduler does."""
    target = {"kind": "Node", "name": NODE}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/binding"
    kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(body))


def set_pod_status(pod: str, namespace: str, status: Mapping[str, object]) -> None:
    """Say what the kubelet would say of it."""
    _patch_status("pod", pod, status, namespace)


def _patch_status(kind: str, name: str, status: Mapping[str, object], namespace: str = "") -> None:
    patch = json.dumps({"status": status})
    kubectl("patch", kind, name, "--subresource=status", "--type=merge", f"--patch={patch}", namespace=namespace)
