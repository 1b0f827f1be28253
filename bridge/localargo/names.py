"""Names that Argo derives: node ids, pod names, generated names; and what names may look like.

Pure, but for the random suffix of a generated name.
"""

from __future__ import annotations

import re
import secrets

_PREFIX_LIMIT = 253 - 10 - 1  # a pod name holds at most 253 characters: prefix, dash, hash
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own, without vowels
_GENERATED_LIMIT = 63
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
LABEL_VALUE_LIMIT = 63


def fnv32a(text: str) -> int:
    """FNV-1a, 32 bits: the hash in node ids and pod names."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def node_id(workflow: str, node_name: str) -> str:
    """The id of a node: the workflow's name for the root, else `<workflow>-<hash>`."""
    return workflow if node_name == workflow else f"{workflow}-{fnv32a(node_name)}"


def pod_name(workflow: str, node_name: str, template: str) -> str:
    """Pod name v2: the workflow's name for the root, else `<workflow>-<template>-<hash>`."""
    if node_name == workflow:
        return workflow
    prefix = f"{workflow}-{template}" if template else workflow
    return f"{prefix[:_PREFIX_LIMIT]}-{fnv32a(node_name)}"


def generated(prefix: str) -> str:
    """A name for `metadata.generateName`; long prefixes are cut as Kubernetes cuts them."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))
    return prefix[: _GENERATED_LIMIT - len(suffix)] + suffix
