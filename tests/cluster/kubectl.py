"""The real kubectl, as somebody in particular.

Knows its command line and its exit codes; nothing of manifests or tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.programs import program, search_path

Document = dict[str, Any]
_SECONDS = 90.0
# kubectl would ask for the definitions of custom resources first, which few accounts may read.
_REVIEW = ("create", "--validate=false", "-o", "json", "-f", "-")


class KubectlError(AssertionError):
    """kubectl did not do it; the text is what it wrote to stderr."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with one kubeconfig, perhaps in the name of another subject."""

    kubeconfig: Path
    subject: str | None = None

    def impersonating(self, subject: str) -> Kubectl:
        """The same cluster seen by another subject (`--as`), in the groups that it is always in."""
        return Kubectl(self.kubeconfig, subject)

    def attempt(
        self, *arguments: str, stdin: str = "", ok: Sequence[int] = (0,)
    ) -> tuple[int, str, str]:
        """Run it; returns the exit code, stdout and stderr.

        Raises:
            KubectlError: an exit code that is not in `ok`.
        """
        extra = [] if self.subject is None else [f"--as={self.subject}"]
        done = subprocess.run(
            [program("kubectl"), *arguments, *extra],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "PATH": search_path(), "KUBECONFIG": str(self.kubeconfig)},
        )
        if done.returncode not in ok:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.returncode, done.stdout, done.stderr

    def text(self, *arguments: str, stdin: str = "") -> str:
        """What it prints."""
        return self.attempt(*arguments, stdin=stdin)[1]

    def json(self, *arguments: str) -> Document:
        """What it prints with `-o json`."""
        found: Document = json.loads(self.text(*arguments, "-o", "json"))
        return found

    def apply(self, documents: Sequence[Document], *flags: str) -> str:
        """Apply objects; returns what it says on stderr, which is warnings."""
        return self.attempt("apply", *flags, "-f", "-", stdin=yaml.safe_dump_all(documents))[2]

    def create(self, document: Document, *flags: str) -> None:
        """Create an object."""
        self.text("create", *flags, "-f", "-", stdin=yaml.safe_dump(document))

    def names(self, kind: str, namespace: str, *flags: str) -> set[str]:
        """The names of the objects of a kind in a namespace."""
        found = self.text("get", kind, "-n", namespace, "-o", "name", *flags)
        return {line.partition("/")[2] for line in found.split()}

    def can(self, verb: str, resource: str, namespace: str, *flags: str) -> bool:
        """Whether the subject may do that there; `*` is the whole cluster.

        A resource is written `pods`, `pods/log` (a part of it) or `secrets:name` (one of them).
        """
        place = ["-A"] if namespace == "*" else ["-n", namespace]
        code, said, warned = self.attempt(
            "auth", "can-i", verb, *_split(resource), *place, *flags, ok=(0, 1)
        )
        assert "doesn't have a resource type" not in warned, resource
        answer = said.split()[0]
        assert (answer, code) in {("yes", 0), ("no", 1)}, said
        return answer == "yes"

    def rights(self, namespace: str) -> set[tuple[str, str]]:
        """Verb and resource, written as for `can`, of all that the subject may do in a namespace.

        Without what everybody may: to ask who they are and what they may.
        """
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        said = self.text(*_REVIEW, stdin=yaml.safe_dump(review))
        rules = json.loads(said)["status"]["resourceRules"]
        return {right for rule in rules for right in _rights(rule)}


def _rights(rule: Document) -> Iterator[tuple[str, str]]:
    for group in rule["apiGroups"]:
        if group in {"authorization.k8s.io", "authentication.k8s.io"}:
            continue
        for resource, verb in product(rule["resources"], rule["verbs"]):
            kind, slash, part = resource.partition("/")
            whole = f"{kind}.{group}{slash}{part}" if group else resource
            for name in rule.get("resourceNames") or [""]:
                yield verb, f"{whole}:{name}" if name else whole


def _split(resource: str) -> list[str]:
    """A resource as kubectl wants it, for which a slash means the name of an object."""
    kind, slash, part = resource.partition("/")
    return [kind.replace(":", "/"), *([f"--subresource={part}"] if slash else [])]
