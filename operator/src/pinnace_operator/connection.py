"""Where the API server is, and as whom we ask it: by the service account of our pod, outside of one by the kubeconfig.

By kopf's own reading of both, and without the official client: it takes 18 MiB, of which we would use nothing else. A
kubeconfig has to have a certificate, a token or a password; logging in by a plugin (`exec`) is not offered.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import kopf

#: Called again now and then, because a pod's token is rotated.
Login = Callable[[], kopf.ConnectionInfo]


def login(environ: Mapping[str, str]) -> kopf.ConnectionInfo:
    """Raises kopf.LoginError."""
    settings = kopf.OperatorSettings()
    ours = kopf.login_with_service_account(settings=settings)
    if ours is not None:
        host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
        # By the address that the kubelet gives, so that nothing depends on the cluster's DNS.
        return replace(ours, server=f"https://{f'[{host}]' if ':' in host else host}:{port}") if host else ours
    info = kopf.login_with_kubeconfig(settings=settings)
    if info is None:
        raise kopf.LoginError("there is no service account and no kubeconfig: run in a pod, or set KUBECONFIG")
    return info
