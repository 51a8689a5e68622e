"""How uvicorn serves the application, wherever that is."""

from typing import Any

from pinnace_api.settings import ApiSettings


def options(settings: ApiSettings) -> dict[str, Any]:
    """uvicorn.Config's. Left alone, it believes what anybody on this computer says of a caller's address."""
    return {
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": list(settings.trusted_proxies),
    }
