"""Who may connect to whom, by the NetworkPolicies of the manifests.

Knows the rules of Kubernetes for policies and selectors: a pod that no policy names is open, one
that a policy names is closed but for what some policy allows. No API server checks that what one
pod may send is what another may take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.deploy.manifests import Document

_POD_MAKERS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Pod:
    """One end of a connection.

    Attributes:
        namespace: where it is.
        labels: its own.
        ports: the numbers of its named ports.
        address: of a host outside of the cluster's pods, which has neither namespace nor labels.
    """

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""


def pods(documents: Sequence[Document]) -> Iterator[Pod]:
    """The pods that objects make."""
    for each in documents:
        if each["kind"] in _POD_MAKERS:
            template = each["spec"]["template"]
            ports = {
                port["name"]: port["containerPort"]
                for container in template["spec"]["containers"]
                for port in container.get("ports", ())
            }
            yield Pod(each["metadata"]["namespace"], template["metadata"]["labels"], ports)


def connects(policies: Sequence[Document], source: Pod, target: Pod, port: int) -> bool:
    """Whether a TCP connection is let out at one end and in at the other."""
    out = _rules(policies, source, "Egress")
    into = _rules(policies, target, "Ingress")
    return _any(out, "to", target, target, port) and _any(into, "from", source, target, port)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a selector of `matchLabels` selects these labels.

    Raises:
        ValueError: it has `matchExpressions`, which the manifests do not use.
    """
    if selector.get("matchExpressions"):
        raise ValueError("matchExpressions are not understood here")
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def _rules(policies: Sequence[Document], pod: Pod, direction: str) -> list[Document]:
    """What is allowed to a pod; an empty rule, which is everything, if none names it."""
    naming = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], pod.labels)
    ]
    return (
        [rule for spec in naming for rule in spec.get(direction.lower()) or ()] if naming else [{}]
    )


def _any(rules: Sequence[Document], peers: str, other: Pod, target: Pod, port: int) -> bool:
    return any(
        _names(each.get(peers), other) and _opens(each.get("ports"), port, target) for each in rules
    )


def _names(peers: Sequence[Document] | None, pod: Pod) -> bool:
    """Whether one of the peers is this pod; no list means everybody."""
    return not peers or any(_is(peer, pod) for peer in peers)


def _is(peer: Document, pod: Pod) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return bool(pod.address) and (
            ip_address(pod.address) in ip_network(block["cidr"])
            and not any(ip_address(pod.address) in ip_network(n) for n in block.get("except", ()))
        )
    return (
        not pod.address
        and selects(peer.get("namespaceSelector") or {}, {_NAME: pod.namespace})
        and selects(peer.get("podSelector") or {}, pod.labels)
    )


def _opens(ports: Sequence[Document] | None, number: int, target: Pod) -> bool:
    return not ports or any(
        target.ports.get(each["port"], each["port"]) == number and each["protocol"] == "TCP"
        for each in ports
    )
