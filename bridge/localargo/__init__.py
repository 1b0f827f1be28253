"""The embedded Argo: an HTTP server that speaks the Argo Server's REST API.

Knows nothing of the bridge; the bridge reaches it over HTTP only.
"""
