"""The embedded Argo: an HTTP server that speaks the Argo Server's REST API.

Knows nothing of the bridge; the bridge reaches it over HTTP only.
"""

from bridge.localargo.command import main
from bridge.localargo.engine import Engine
from bridge.localargo.serving import create_app, serve, serve_app
from bridge.localargo.settings import LocalArgoSettings

__all__ = ["Engine", "LocalArgoSettings", "create_app", "main", "serve", "serve_app"]
