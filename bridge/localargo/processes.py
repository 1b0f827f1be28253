"""Script and container templates as local processes.

Each pod has a folder of its own, which is its working directory; paths that it declares for
outputs are moved into that folder wherever its source, arguments and environment name them.
The process sees the environment of the template and PATH, nothing else. Knows nothing of nodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from bridge.localargo.logs import LINE_LIMIT, executor_line
from bridge.localargo.pods import Pod, PodResult, exited
from bridge.localargo.templates import as_text

_NOT_STARTED = 64  # the exit code of Argo's executor when it cannot start the command
_RESULT_LIMIT = 256 * 1024
_READ_SIZE = 1 << 16
_SIGNALLED = 128


class SecretError(Exception):
    """A Secret, or a key of it, that does not exist."""


class ProcessRunner:
    """Runs the processes of pods."""

    def __init__(self, secrets: Mapping[str, Mapping[str, str]], *, grace_seconds: float) -> None:
        self._secrets = secrets
        self._grace = grace_seconds

    async def run(self, pod: Pod) -> PodResult:
        """Run a script or container to its end; `pod.stop` ends it with SIGTERM."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="localargo-"))
        try:
            return await self._run_in(pod, folder)
        except SecretError as error:
            return PodResult(None, str(error), error=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _run_in(self, pod: Pod, folder: Path) -> PodResult:
        moved = _moved_paths(pod.template, folder)
        container = _relocate(pod.template.get("script") or pod.template["container"], moved)
        command = _command(container, folder)
        environment = {**_base_environment(folder), **environment_of(container, self._secrets)}
        pod.write(executor_line("waiting for signals", "signalPath=/var/run/argo/ctr/main/signal"))
        with _Pipe() as pipe:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=folder,
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=pipe.sink,
                    stderr=pipe.sink,
                    start_new_session=True,
                )
            except OSError as error:
                reason = f'exec: "{command[0]}": {error.strerror}'
                pod.write(f"Error: failed to find name in PATH: {reason}")
                return exited(_NOT_STARTED, f"failed to find name in PATH: {reason}")
            finally:
                pipe.close_sink()
            try:
                output = await self._follow(pod, process, pipe)
            finally:
                _kill_group(process, signal.SIGKILL)  # whatever it has left behind
                await process.wait()
        return _ended(pod, process.returncode or 0, moved, output)

    async def _follow(self, pod: Pod, process: asyncio.subprocess.Process, pipe: _Pipe) -> str:
        """Copy lines into the log until the process has ended; return what it printed."""
        reading = asyncio.ensure_future(_copy_lines(pod, process, pipe))
        stopping = asyncio.ensure_future(pod.stop.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                _kill_group(process, signal.SIGTERM)
                await asyncio.wait({reading}, timeout=self._grace)
            if not reading.done():
                _kill_group(process, signal.SIGKILL)
            return await reading
        finally:
            for task in (reading, stopping):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


class _Pipe:
    """A pipe of our own: with one of asyncio's, waiting for a process waits for its children.

    Read without a transport: that of uvloop closes a file twice, and the second time perhaps
    another one, which a thread has opened under the same number in between.
    """

    def __init__(self) -> None:
        self._source, self._sink = os.pipe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close_sink()
        os.close(self._source)

    @property
    def sink(self) -> int:
        """The end for the process."""
        return self._sink

    def close_sink(self) -> None:
        """Leave it to the process alone: once it and its children are gone, the pipe ends."""
        if self._sink >= 0:
            os.close(self._sink)
            self._sink = -1

    async def read(self) -> bytes:
        """The next bytes; none at the end."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._source, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._source)
        return os.read(self._source, _READ_SIZE)


async def _copy_lines(pod: Pod, process: asyncio.subprocess.Process, pipe: _Pipe) -> str:
    """Cut the output into lines; the end of the process counts, not the end of the pipe."""
    rest, kept = b"", bytearray()
    ended = asyncio.ensure_future(process.wait())
    while chunk := await _read_or_end(pipe, ended):
        kept += chunk
        del kept[:-_RESULT_LIMIT]
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            pod.write(_text(line))
        if len(rest) > LINE_LIMIT:
            pod.write(_text(rest))
            rest = b""
    if rest:
        pod.write(_text(rest))
    await ended
    return kept.decode("utf-8", "replace")


async def _read_or_end(pipe: _Pipe, ended: asyncio.Future[int]) -> bytes:
    """The next bytes; none once the process has ended and its output is read."""
    reading = asyncio.ensure_future(pipe.read())
    first: set[asyncio.Future[Any]] = {reading, ended}
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not reading.done():  # a child in the background may hold the pipe open
        await asyncio.wait({reading}, timeout=0.1)
    if reading.done():
        return reading.result()
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    return b""


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def _ended(pod: Pod, code: int, moved: Mapping[str, Path], output: str) -> PodResult:
    code = code if code >= 0 else _SIGNALLED - code
    shown = "<nil>" if code == 0 else f'"exit status {code}"'
    pod.write(executor_line("sub-process exited", f"error={shown}"))
    pod.write(executor_line("file signal handler exiting due to context cancellation"))
    if code:
        pod.write(f"Error: exit status {code}")
    result = exited(code)
    values, missing = _output_values(pod.template, moved)
    if missing and not code:
        return PodResult(code, f"Error (exit code 1): cannot save parameter {missing}", error=True)
    captured = output.removesuffix("\n") if pod.capture_result else None
    return PodResult(result.exit_code, result.message, values, captured)


def _output_values(
    template: Mapping[str, Any], moved: Mapping[str, Path]
) -> tuple[dict[str, str], str]:
    """The output parameters that are files or have defaults, and the first missing path."""
    values, missing = {}, ""
    for parameter in template.get("outputs", {}).get("parameters", []):
        source = parameter.get("valueFrom") or {}
        path = moved.get(source.get("path", ""))
        try:
            if path is not None:
                text = path.read_text(encoding="utf-8", errors="replace")
                values[parameter["name"]] = text.removesuffix("\n")
                continue
        except OSError:
            missing = missing or ("" if "default" in source else source["path"])
        if "default" in source:
            values[parameter["name"]] = as_text(source["default"])
    return values, missing


def _moved_paths(template: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """Declared output paths and where they are instead."""
    declared = template.get("outputs", {}).get("parameters", [])
    paths = [str((item.get("valueFrom") or {}).get("path", "")) for item in declared]
    moved = {path: folder / "outputs" / path.lstrip("/") for path in paths if path}
    for path in moved.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    return moved


def _relocate(value: Any, moved: Mapping[str, Path]) -> Any:
    """The container with the declared paths replaced in every string, longest first."""
    if isinstance(value, str):
        for path in sorted(moved, key=len, reverse=True):
            value = value.replace(path, str(moved[path]))
        return value
    if isinstance(value, dict):
        return {key: _relocate(item, moved) for key, item in value.items()}
    if isinstance(value, list):
        return [_relocate(item, moved) for item in value]
    return value


def _command(container: Mapping[str, Any], folder: Path) -> list[str]:
    command = [as_text(part) for part in container.get("command") or ()]
    if "source" not in container:
        return [*command, *(as_text(part) for part in container.get("args") or ())]
    script = folder / "script"
    script.write_text(as_text(container["source"]), encoding="utf-8")
    script.chmod(0o700)
    return [*command, str(script), *(as_text(part) for part in container.get("args") or ())]


def environment_of(
    container: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """The environment that a template asks for.

    Raises:
        SecretError: a Secret or key does not exist and is not optional.
    """
    values = {}
    for entry in container.get("env") or ():
        source = (entry.get("valueFrom") or {}).get("secretKeyRef")
        if source is None:
            values[entry["name"]] = as_text(entry.get("value"))
            continue
        value = secrets.get(source["name"], {}).get(source["key"])
        if value is not None:
            values[entry["name"]] = value
        elif not source.get("optional"):
            missing = "secret" if source["name"] not in secrets else "key"
            detail = f'secret "{source["name"]}" not found'
            if missing == "key":
                detail = f"couldn't find key {source['key']} in Secret {source['name']}"
            raise SecretError(f"CreateContainerConfigError: {detail}")
    return values


def _base_environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8"}


def _kill_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal the process and all its children; they share a session of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
