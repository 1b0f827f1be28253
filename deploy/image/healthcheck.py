"""Whether the bridge of this container lives: one call of ``/healthz`` over loopback.

For Docker and Podman; Kubernetes has probes of its own. The certificate is not checked: it names
the bridge, not loopback, and nothing is sent.
"""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request

SECONDS = 3.0


def main() -> int:
    """0 if it lives."""
    scheme = "https" if os.environ.get("BRIDGE_TLS_CERT_FILE") else "http"
    url = f"{scheme}://127.0.0.1:{os.environ.get('BRIDGE_PORT') or 8080}/healthz"
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked)
    )
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
