"""Which runner takes which kind of template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bridge.localargo.pods import Pod, PodResult


class Runner(Protocol):
    """Runs pods of one kind to their end."""

    async def run(self, pod: Pod) -> PodResult:
        """Run the pod; return soon after `pod.stop` is set."""
        ...


@dataclass(frozen=True, slots=True)
class Runners:
    """The runners of one embedded Argo."""

    processes: Runner
    resources: Runner
    requests: Runner

    async def run(self, pod: Pod) -> PodResult:
        """Run a pod by the kind of its template."""
        if "resource" in pod.template:
            return await self.resources.run(pod)
        if "http" in pod.template:
            return await self.requests.run(pod)
        return await self.processes.run(pod)
