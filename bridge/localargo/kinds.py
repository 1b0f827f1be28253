"""Kinds of Kubernetes objects: names, scope, and what the API server refuses.

Knows the kinds that namespace provisioning uses, any kind of a custom group, and the texts of the
API server. Must not know the store or kubectl. A kind of the core API that is not listed is
refused, so that a typing error does not pass as an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Reason = Literal["NotFound", "AlreadyExists", "BadRequest", "Invalid", "NoMatch"]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LABEL_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_QUANTITY = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_LABEL_LIMIT, _NAME_LIMIT = 63, 253
_METADATA = frozenset(
    {
        "name",
        "namespace",
        "labels",
        "annotations",
        "generateName",
        "finalizers",
        "ownerReferences",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    }
)
_SHAPES: Mapping[str, Mapping[str, type]] = {
    "ResourceQuota": {"spec.hard": dict},
    "LimitRange": {"spec.limits": list},
    "Role": {"rules": list},
    "ClusterRole": {"rules": list},
    "RoleBinding": {"subjects": list, "roleRef": dict},
    "ClusterRoleBinding": {"subjects": list, "roleRef": dict},
    "NetworkPolicy": {"spec.policyTypes": list},
    "Ingress": {"spec.rules": list},
}
_RBAC = "rbac.authorization.k8s.io"


class ApiError(Exception):
    """A refusal of the API server; `str()` is its message, `reason` its Kubernetes reason."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Keep both; a `reason` of NoMatch comes from the client's own discovery."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `fields` are its top-level fields besides the usual three, None: any."""

    name: str
    plural: str
    group: str = ""
    namespaced: bool = True
    fields: frozenset[str] | None = frozenset({"spec", "status"})
    required: tuple[str, ...] = ()
    alias: str = ""

    @property
    def resource(self) -> str:
        """The name in error texts: `rolebindings.rbac.authorization.k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def answers_to(self, word: str) -> bool:
        """Tell whether kubectl takes `word` for this kind: `ns`, `namespace`, `Role.rbac…`."""
        name, _, group = word.lower().partition(".")
        return name in (self.name.lower(), self.plural, self.alias or self.plural) and (
            not group or group == self.group
        )


def _fields(*names: str) -> frozenset[str]:
    return frozenset(names)


KINDS: tuple[Kind, ...] = (
    Kind("Namespace", "namespaces", namespaced=False, alias="ns"),
    Kind("ConfigMap", "configmaps", fields=_fields("data", "binaryData", "immutable"), alias="cm"),
    Kind("Secret", "secrets", fields=_fields("data", "stringData", "type", "immutable")),
    Kind(
        "ServiceAccount",
        "serviceaccounts",
        fields=_fields("secrets", "imagePullSecrets", "automountServiceAccountToken"),
        alias="sa",
    ),
    Kind("ResourceQuota", "resourcequotas", alias="quota"),
    Kind("LimitRange", "limitranges", required=("spec.limits",), alias="limits"),
    Kind("Service", "services", required=("spec.ports",), alias="svc"),
    Kind("Role", "roles", _RBAC, fields=_fields("rules")),
    Kind(
        "RoleBinding",
        "rolebindings",
        _RBAC,
        fields=_fields("roleRef", "subjects"),
        required=("roleRef.name", "roleRef.kind"),
    ),
    Kind(
        "ClusterRole",
        "clusterroles",
        _RBAC,
        namespaced=False,
        fields=_fields("rules", "aggregationRule"),
    ),
    Kind(
        "ClusterRoleBinding",
        "clusterrolebindings",
        _RBAC,
        namespaced=False,
        fields=_fields("roleRef", "subjects"),
        required=("roleRef.name", "roleRef.kind"),
    ),
    Kind("NetworkPolicy", "networkpolicies", "networking.k8s.io", alias="netpol"),
    Kind("Ingress", "ingresses", "networking.k8s.io", required=("spec",), alias="ing"),
    Kind("Deployment", "deployments", "apps", required=("spec.selector",), alias="deploy"),
)


def kind_of(api_version: str, name: str) -> Kind:
    """Return the kind of an object; a group with a dot that is not Kubernetes' own is custom.

    Custom kinds are namespaced and take any field. Raises ApiError (NoMatch).
    """
    group = api_version.rpartition("/")[0]
    for kind in KINDS:
        if kind.name == name and kind.group == group:
            return kind
    if not (is_custom(group) and re.fullmatch(r"[A-Z]\w*", name)):
        raise ApiError("NoMatch", f'no matches for kind "{name}" in version "{api_version}"')
    return Kind(name, _plural(name.lower()), group, fields=None)


def is_custom(group: str) -> bool:
    """Tell whether kinds of an API group are defined by someone else than Kubernetes."""
    return "." in group and not group.endswith(".k8s.io")


def validate(kind: Kind, found: Mapping[str, Any]) -> None:
    """Refuse an object the API server would refuse; raise ApiError (BadRequest or Invalid)."""
    _check_shape(kind, found)
    complaints = list(_complaints(kind, found))
    if complaints:
        raise invalid(kind, found["metadata"].get("name", ""), complaints)


def invalid(kind: Kind, name: str, complaints: list[str]) -> ApiError:
    """Return the refusal of an object whose fields are wrong, as kubectl prints it."""
    listed = complaints[0] if len(complaints) == 1 else "\n* " + "\n* ".join(complaints)
    return ApiError("Invalid", f'The {kind.name} "{name}" is invalid: {listed}')


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"


def _check_shape(kind: Kind, found: Mapping[str, Any]) -> None:
    """Refuse what cannot be decoded: unknown fields, and types that do not fit."""
    known = {"apiVersion", "kind", "metadata", *(kind.fields or ())}
    unknown = [name for name in found if kind.fields is not None and name not in known]
    unknown += [f"metadata.{name}" for name in found["metadata"] if name not in _METADATA]
    if unknown:
        listed = ", ".join(f'unknown field "{name}"' for name in unknown)
        raise _undecodable(kind, found, f"strict decoding error: {listed}")
    for path, shape in {"spec": dict, **_SHAPES.get(kind.name, {})}.items():
        value = read(found, path)
        if kind.fields is not None and value is not None and not isinstance(value, shape):
            wanted = "[]object" if shape is list else "object"
            raise _undecodable(
                kind,
                found,
                f"json: cannot unmarshal {_json_type(value)} into Go struct field "
                f"{kind.name}.{path} of type {wanted}",
            )
    for owner, path in (("ObjectMeta", "metadata.labels"), ("ObjectMeta", "metadata.annotations")):
        _check_texts(kind, found, owner=owner, path=path)
    if kind.name == "ConfigMap":
        _check_texts(kind, found, owner="ConfigMap", path="data")
    for value in _quantities(kind, found):
        if re.fullmatch(_QUANTITY, str(value)) is None or isinstance(value, bool):
            raise _undecodable(
                kind, found, f"quantities must match the regular expression '{_QUANTITY}'"
            )


def _undecodable(kind: Kind, found: Mapping[str, Any], why: str) -> ApiError:
    version = str(found.get("apiVersion", "")).rpartition("/")[2]
    return ApiError(
        "BadRequest",
        f'{kind.name} in version "{version}" cannot be handled as a {kind.name}: {why}',
    )


def _check_texts(kind: Kind, found: Mapping[str, Any], *, owner: str, path: str) -> None:
    values = read(found, path)
    if values is None:
        return
    wanted = "string" if isinstance(values, Mapping) else "map[string]string"
    for value in values.values() if isinstance(values, Mapping) else [values]:
        if wanted != "string" or not isinstance(value, str):
            raise _undecodable(
                kind,
                found,
                f"json: cannot unmarshal {_json_type(value)} into Go struct field {owner}.{path} "
                f"of type {wanted}",
            )


def read(found: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, None if a part of it is missing or no map."""
    value: Any = found
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _json_type(value: Any) -> str:
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def _quantities(kind: Kind, found: Mapping[str, Any]) -> Iterator[Any]:
    if kind.name == "ResourceQuota":
        hard = read(found, "spec.hard")
        yield from hard.values() if isinstance(hard, Mapping) else ()
    if kind.name == "LimitRange":
        limits = read(found, "spec.limits")
        for limit in limits if isinstance(limits, list) else ():
            for amounts in limit.values() if isinstance(limit, Mapping) else ():
                yield from amounts.values() if isinstance(amounts, Mapping) else ()


def _complaints(kind: Kind, found: Mapping[str, Any]) -> Iterator[str]:
    yield from _name_complaints(kind, str(found["metadata"].get("name", "")))
    for key, value in (read(found, "metadata.labels") or {}).items():
        yield from _label_complaints(key, value)
    for path in kind.required:
        if read(found, path) in (None, "", [], {}):
            yield f"{path}: Required value"
    yield from _SPECIAL.get(kind.name, _nothing)(found)


def _nothing(found: Mapping[str, Any]) -> Iterator[str]:
    del found
    yield from ()


def _name_complaints(kind: Kind, name: str) -> Iterator[str]:
    if not name:
        yield "metadata.name: Required value: name or generateName is required"
    elif kind.group == _RBAC:
        if name in (".", "..") or "/" in name or "%" in name:
            yield f"metadata.name: Invalid value: {_quote(name)}: may not contain '/' or '%'"
    elif kind.name in ("Namespace", "Service"):
        if re.fullmatch(_LABEL, name) is None:
            yield (
                f"metadata.name: Invalid value: {_quote(name)}: a lowercase RFC 1123 label must "
                "consist of lower case alphanumeric characters or '-', and must start and end "
                "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
                f"validation is '{_LABEL}')"
            )
        if len(name) > _LABEL_LIMIT:
            yield _too_long("metadata.name", name, _LABEL_LIMIT)
    elif re.fullmatch(_SUBDOMAIN, name) is None:
        yield (
            f"metadata.name: Invalid value: {_quote(name)}: a lowercase RFC 1123 subdomain must "
            "consist of lower case alphanumeric characters, '-' or '.', and must start and end "
            "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            f"'{_SUBDOMAIN}')"
        )
    elif len(name) > _NAME_LIMIT:
        yield _too_long("metadata.name", name, _NAME_LIMIT)


def _label_complaints(key: str, value: str) -> Iterator[str]:
    prefix, slash, name = key.rpartition("/")
    fits = len(name) <= _LABEL_LIMIT and re.fullmatch(_LABEL_NAME, name) is not None
    if not fits or (slash and re.fullmatch(_SUBDOMAIN, prefix) is None):
        yield (
            f"metadata.labels: Invalid value: {_quote(key)}: name part must consist of "
            "alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used "
            f"for validation is '{_LABEL_NAME}')"
        )
    if len(value) > _LABEL_LIMIT:
        yield _too_long("metadata.labels", value, _LABEL_LIMIT)
    if re.fullmatch(_LABEL_VALUE, value) is None:
        yield (
            f"metadata.labels: Invalid value: {_quote(value)}: a valid label must be an empty "
            "string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
            "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
            f"regex used for validation is '{_LABEL_VALUE}')"
        )


def _too_long(field: str, value: str, limit: int) -> str:
    return f"{field}: Invalid value: {_quote(value)}: must be no more than {limit} characters"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _subject_complaints(found: Mapping[str, Any]) -> Iterator[str]:
    for index, subject in enumerate(found.get("subjects") or []):
        kind = subject.get("kind") if isinstance(subject, Mapping) else None
        if kind not in ("User", "Group", "ServiceAccount"):
            yield (
                f'subjects[{index}].kind: Unsupported value: "{kind or ""}": supported values: '
                '"Group", "ServiceAccount", "User"'
            )
        elif not subject.get("name"):
            yield f"subjects[{index}].name: Required value"
        elif kind == "ServiceAccount" and not subject.get("namespace"):
            yield f"subjects[{index}].namespace: Required value"


def _policy_complaints(found: Mapping[str, Any]) -> Iterator[str]:
    for index, policy in enumerate(read(found, "spec.policyTypes") or []):
        if policy not in ("Ingress", "Egress"):
            yield (
                f'spec.policyTypes[{index}]: Unsupported value: "{policy}": supported values: '
                '"Egress", "Ingress"'
            )


def _rule_complaints(found: Mapping[str, Any]) -> Iterator[str]:
    for index, rule in enumerate(found.get("rules") or []):
        if not (isinstance(rule, Mapping) and rule.get("verbs")):
            yield f"rules[{index}].verbs: Required value: verbs must contain at least one value"


def _path_complaints(found: Mapping[str, Any]) -> Iterator[str]:
    for index, rule in enumerate(read(found, "spec.rules") or []):
        where = f"spec.rules[{index}]"
        paths = read(rule, "http.paths") or [] if isinstance(rule, Mapping) else None
        if not isinstance(paths, list):
            yield f"{where}: Invalid value: a rule is an object, its http.paths are a list"
            continue
        for number, path in enumerate(paths):
            if not (isinstance(path, Mapping) and path.get("pathType")):
                yield (
                    f"{where}.http.paths[{number}].pathType: Required value: "
                    "pathType must be specified"
                )


_SPECIAL: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "RoleBinding": _subject_complaints,
    "ClusterRoleBinding": _subject_complaints,
    "NetworkPolicy": _policy_complaints,
    "Role": _rule_complaints,
    "ClusterRole": _rule_complaints,
    "Ingress": _path_complaints,
}
