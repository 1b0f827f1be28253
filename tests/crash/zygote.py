"""A process that has imported the product and forks: a start costs no import.

Knows fork and signals. Speaks JSON lines: in ``{"id", "kind": "replica"|"argo", "env", "log"}``,
out ``{"id", "pid"}`` when it is started and ``{"id", "ended": status}`` when it has ended. When
its input closes it kills what it started and ends.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import sys
import traceback
from typing import Any, NoReturn

from tests.crash import argo, replica

_MAINS = {"replica": replica.main, "argo": argo.main}
_PR_SET_PDEATHSIG = 1


class Zygote:
    """The loop between the parent's lines and the children's ends."""

    def __init__(self) -> None:
        self._ids: dict[int, int] = {}
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Fork on request until the input closes."""
        rest = b""
        while True:
            ready, _, _ = select.select([0, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._reap()
            if 0 in ready:
                chunk = os.read(0, 65536)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._fork(json.loads(line))
        for pid in self._ids:
            os.kill(pid, signal.SIGKILL)
        while self._ids:
            self._ids.pop(os.wait()[0], None)

    def _reap(self) -> None:
        while self._ids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _say({"id": self._ids.pop(pid), "ended": os.waitstatus_to_exitcode(status)})

    def _fork(self, order: dict[str, Any]) -> None:
        pid = os.fork()
        if pid == 0:
            _become(order)
        self._ids[pid] = order["id"]
        _say({"id": order["id"], "pid": pid})


def _say(line: dict[str, Any]) -> None:
    os.write(1, (json.dumps(line) + "\n").encode())


def _become(order: dict[str, Any]) -> NoReturn:
    """The child: leave everything of the zygote behind, then run."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        told = os.open(order["log"], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        os.dup2(nothing, 0)
        os.dup2(told, 1)
        os.dup2(told, 2)
        os.closerange(3, 64)
        os.environ.update(order["env"])
        _MAINS[order["kind"]]()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it was, a child must not return to the loop
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    replica.prepare()
    gc.freeze()
    Zygote().serve()
