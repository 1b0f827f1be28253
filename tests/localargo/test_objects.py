"""The object store: what an API server keeps, adds and refuses."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.localargo.kinds import ApiError, kind_of
from bridge.localargo.objects import LAST_APPLIED, Key, ObjectStore, Stamps, merged
from bridge.localargo.selectors import parse_labels

JSON = st.recursive(
    st.sampled_from([None, True, 1, 2.5, "", "x", "A b", "Ingress", "User"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["name", "kind", "labels", "http", "paths", "verbs", "hard", "limits"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
KINDS = st.sampled_from(
    [
        *("Namespace", "ConfigMap", "ResourceQuota", "LimitRange", "RoleBinding", "Role"),
        *("Ingress", "NetworkPolicy", "ServiceMonitor", "ServiceAccount"),
    ]
)
FIELDS = st.dictionaries(
    st.sampled_from(["spec", "data", "rules", "subjects", "roleRef", "status"]), JSON, max_size=3
)
METADATA = st.dictionaries(
    st.sampled_from(["name", "namespace", "labels", "annotations", "finalizers"]), JSON, max_size=3
)
NOW = "2026-11-21T22:30:16Z"


@pytest.fixture
def store():
    """A store with the namespaces `default` and `team-a`."""
    uids = itertools.count(1)
    stamps = Stamps(now=lambda: NOW, uid=lambda: f"uid-{next(uids)}")
    return ObjectStore(namespaces=("default", "team-a"), stamps=stamps)


def _manifest(kind: str = "ConfigMap", name: str = "one", **fields: object) -> dict[str, object]:
    groups = {
        "RoleBinding": "rbac.authorization.k8s.io/v1",
        "Role": "rbac.authorization.k8s.io/v1",
        "NetworkPolicy": "networking.k8s.io/v1",
        "Ingress": "networking.k8s.io/v1",
        "ServiceMonitor": "monitoring.coreos.com/v1",
    }
    metadata = {"name": name, **fields.pop("metadata", {})}
    return {"apiVersion": groups.get(kind, "v1"), "kind": kind, "metadata": metadata, **fields}


def _key(store: ObjectStore, manifest: dict[str, object], namespace: str = "team-a") -> Key:
    return store.key(manifest, namespace=namespace)


def _refusal(store: ObjectStore, manifest: dict[str, object]) -> tuple[str, str]:
    with pytest.raises(ApiError) as caught:
        store.create(manifest, namespace="team-a")
    return caught.value.reason, str(caught.value)


def test_a_fresh_object_gets_what_the_api_server_adds(store):
    """Objects have a uid, a version and a time, namespaces their label and phase."""
    found = store.create(
        _manifest("Namespace", "new", metadata={"labels": {"a": "b"}}), namespace=""
    )

    assert found == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "new",
            "labels": {"a": "b", "kubernetes.io/metadata.name": "new"},
            "uid": "uid-3",
            "creationTimestamp": NOW,
            "resourceVersion": "3",
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def test_a_quota_and_an_ingress_have_a_status(store):
    """Conditions of a template on these kinds have something to look at."""
    hard = {"cpu": "2", "pods": 20}
    quota = store.create(_manifest("ResourceQuota", spec={"hard": hard}), namespace="team-a")
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix"}]}}]
    ingress = store.create(_manifest("Ingress", spec={"rules": rules}), namespace="team-a")

    assert quota["status"] == {"hard": hard, "used": {"cpu": "0", "pods": "0"}}
    assert quota["metadata"]["namespace"] == "team-a"
    assert ingress["status"] == {"loadBalancer": {}}


def test_the_same_name_twice_is_refused(store):
    """`create` of an object that is there fails as on a cluster."""
    store.create(_manifest(), namespace="team-a")

    assert _refusal(store, _manifest()) == ("AlreadyExists", 'configmaps "one" already exists')
    store.create(_manifest(), namespace="default")


def test_a_namespace_must_exist(store):
    """A template that forgets to create the namespace first sees it."""
    refused = _refusal(store, _manifest(metadata={"namespace": "nope"}))

    assert refused == ("NotFound", 'namespaces "nope" not found')


def test_what_is_not_there_is_not_found(store):
    """get, replace, patch and delete name the missing object with its group."""
    manifest = _manifest("RoleBinding", roleRef={"kind": "Role", "name": "x"})
    key = _key(store, manifest)
    text = 'rolebindings.rbac.authorization.k8s.io "one" not found'

    for call in (
        lambda: store.get(key),
        lambda: store.delete(key),
        lambda: store.patch(key, {}, strategy="merge"),
        lambda: store.replace(manifest, namespace="team-a"),
    ):
        with pytest.raises(ApiError, match=text):
            call()


def test_deleting_a_namespace_deletes_what_is_in_it(store):
    """A rollback that deletes the namespace leaves nothing behind."""
    store.create(_manifest(), namespace="team-a")
    store.create(_manifest("ServiceMonitor"), namespace="team-a")
    store.create(_manifest(), namespace="default")

    store.delete(_key(store, _manifest("Namespace", "team-a")))

    left = [(each["kind"], each["metadata"]["name"]) for each in store.list()]
    assert left == [("ConfigMap", "one"), ("Namespace", "default")]


def test_objects_can_be_listed_and_selected(store):
    """Demos and tests can look at what a workflow made."""
    for name, team in (("one", "a"), ("two", "b")):
        labels = {"labels": {"team": team}}
        store.create(_manifest(name=name, metadata=labels, data={"k": "v"}), namespace="team-a")
    store.create(_manifest(name="three"), namespace="default")
    kind = kind_of("v1", "ConfigMap")

    def names(namespace: str | None, selector: str) -> list[str]:
        found = store.select(kind, namespace=namespace, selector=parse_labels(selector))
        return [key.name for key in found]

    assert names("team-a", "team=a") == ["one"]
    assert names("team-a", "team!=a") == ["two"]
    assert names(None, "!team") == ["three"]
    assert len(store.list(kind="ConfigMap")) == 3
    assert len(store.list(kind="ConfigMap", namespace="team-a")) == 2
    store.list(kind="ConfigMap", namespace="team-a")[0]["data"]["k"] = "changed"
    assert store.list(namespace="team-a")[0]["data"] == {"k": "v"}


def test_apply_creates_changes_and_removes(store):
    """Applying a manifest again takes away what it no longer says and keeps the rest."""
    first = _manifest(data={"a": "1", "b": "2"}, metadata={"labels": {"x": "1"}})
    created = store.apply(first, namespace="team-a")
    store.patch(_key(store, first), {"data": {"other": "3"}}, strategy="merge")

    changed = store.apply(_manifest(data={"a": "4"}), namespace="team-a")

    assert changed["data"] == {"a": "4", "other": "3"}
    assert "x" not in changed["metadata"].get("labels", {})
    assert changed["metadata"]["uid"] == created["metadata"]["uid"]
    applied = json.loads(changed["metadata"]["annotations"][LAST_APPLIED])
    assert applied["data"] == {"a": "4"}
    assert applied["metadata"] == {"annotations": {}, "name": "one", "namespace": "team-a"}


def test_an_apply_that_changes_nothing_makes_no_new_version(store):
    """A retried step is harmless, and looks so."""
    manifest = _manifest(data={"a": "1"})
    first = store.apply(manifest, namespace="team-a")

    assert store.apply(manifest, namespace="team-a") == first
    again = store.apply(_manifest(data={"a": "2"}), namespace="team-a")
    assert int(again["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])


def test_null_values_are_left_out(store):
    """A value that became `null` is none, as recorded (argo-recordings/injection-manifest)."""
    assert "value" not in store.apply(_manifest(data={"value": None}), namespace="team-a")["data"]


def test_replace_keeps_only_the_identity(store):
    """Replacing drops what the manifest does not say, but not the uid."""
    before = store.create(_manifest(data={"a": "1"}), namespace="team-a")

    after = store.replace(_manifest(), namespace="team-a")

    assert "data" not in after
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_patches_of_all_three_kinds(store):
    """merge, strategic and json patches change an object in place."""
    key = _key(store, _manifest())
    store.create(_manifest(data={"a": "1", "b": "2"}), namespace="team-a")

    store.patch(key, {"data": {"a": None, "c": "3"}}, strategy="merge")
    store.patch(key, {"metadata": {"labels": {"x": "y"}}}, strategy="strategic")
    found = store.patch(
        key,
        [
            {"op": "test", "path": "/data/b", "value": "2"},
            {"op": "add", "path": "/data/d~1e", "value": "4"},
            {"op": "move", "from": "/data/b", "path": "/data/f"},
            {"op": "copy", "from": "/data/f", "path": "/data/g"},
            {"op": "replace", "path": "/data/c", "value": "5"},
            {"op": "remove", "path": "/metadata/labels/x"},
        ],
        strategy="json",
    )

    assert found["data"] == {"c": "5", "d/e": "4", "f": "2", "g": "2"}
    assert found["metadata"]["labels"] == {}


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "add"},
        ["add"],
        [{"op": "nope", "path": "/data"}],
        [{"op": "add", "path": "data", "value": 1}],
        [{"op": "add", "path": "/data/a/b", "value": "x"}],
        [{"op": "remove", "path": "/data/nope"}],
        [{"op": "test", "path": "/data/a", "value": "2"}],
        [{"op": "replace", "path": "/metadata/finalizers/2", "value": "x"}],
        [{"op": "add", "path": "/metadata/finalizers/x", "value": "x"}],
        [{"op": "add", "path": "/spec/x/y", "value": 1}],
    ],
    ids=str,
)
def test_a_json_patch_that_does_not_fit_changes_nothing(store, patch):
    """A wrong patch is refused as a whole."""
    manifest = _manifest(data={"a": "1"}, metadata={"finalizers": ["x", "y"]})
    before = store.create(manifest, namespace="team-a")

    with pytest.raises(ApiError, match='ConfigMap "one" is invalid'):
        store.patch(_key(store, manifest), patch, strategy="json")

    assert store.get(_key(store, manifest)) == before


def test_a_json_patch_reaches_into_lists(store):
    """Items of a list can be added at the end, put in between and removed."""
    manifest = _manifest(metadata={"finalizers": ["a", "b"]})
    store.create(manifest, namespace="team-a")
    path = "/metadata/finalizers"
    operations = [
        {"op": "add", "path": f"{path}/-", "value": "d"},
        {"op": "add", "path": f"{path}/2", "value": "c"},
        {"op": "remove", "path": f"{path}/0"},
        {"op": "replace", "path": f"{path}/0", "value": "B"},
    ]

    found = store.patch(_key(store, manifest), operations, strategy="json")

    assert found["metadata"]["finalizers"] == ["B", "c", "d"]


def test_merging_follows_rfc_7386():
    """None removes, objects merge, everything else replaces."""
    assert merged(
        {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None}, "d": [2], "e": {"f": None}}
    ) == {
        "a": {"c": 2},
        "d": [2],
        "e": {},
    }
    assert merged("x", {"a": 1}) == {"a": 1}
    assert merged({"a": 1}, "x") == "x"


def test_the_role_of_a_binding_cannot_change(store):
    """A binding points to one role for ever, as on a cluster."""
    binding = _manifest("RoleBinding", roleRef={"kind": "Role", "name": "reader"})
    store.apply(binding, namespace="team-a")

    with pytest.raises(ApiError, match="cannot change roleRef"):
        store.apply({**binding, "roleRef": {"kind": "Role", "name": "x"}}, namespace="team-a")


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (_manifest("Namespace", "Bad_Name"), "a lowercase RFC 1123 label must consist of"),
        (_manifest("Namespace", "a" * 64), "must be no more than 63 characters"),
        (_manifest(name="a" * 254), "must be no more than 253 characters"),
        (_manifest(name="a b"), "a lowercase RFC 1123 subdomain must consist of"),
        (_manifest(name=""), "metadata.name: Required value"),
        (_manifest("Role", "a/b"), "may not contain '/' or '%'"),
        (_manifest("Role", rules=[{"resources": ["pods"]}]), "rules[0].verbs: Required value"),
        (_manifest(metadata={"labels": {"a": "x y"}}), "a valid label must be an empty string"),
        (_manifest(metadata={"labels": {"a": "x" * 64}}), "must be no more than 63 characters"),
        (_manifest(metadata={"labels": {"-a": "x"}}), "name part must consist of"),
        (_manifest(metadata={"labels": {"A_/a": "x"}}), "name part must consist of"),
        (_manifest("RoleBinding"), "\n* roleRef.name: Required value\n* roleRef.kind: Required"),
        (
            _manifest(
                "RoleBinding",
                roleRef={"kind": "Role", "name": "x"},
                subjects=[
                    {"kind": "Team"},
                    {"kind": "User"},
                    {"kind": "ServiceAccount", "name": "x"},
                ],
            ),
            'subjects[0].kind: Unsupported value: "Team"',
        ),
        (_manifest("NetworkPolicy", spec={"policyTypes": ["In"]}), 'Unsupported value: "In"'),
        (_manifest("LimitRange", spec={"limits": []}), "spec.limits: Required value"),
        (
            _manifest("Ingress", spec={"rules": [{"http": {"paths": [{"path": "/"}]}}]}),
            "spec.rules[0].http.paths[0].pathType: Required value",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value["kind"],
)
def test_invalid_objects_are_refused_with_the_api_servers_text(store, manifest, text):
    """A template that would fail on a cluster fails here, with the same words."""
    reason, refusal = _refusal(store, manifest)

    assert reason == "Invalid"
    assert refusal.startswith(
        f'The {manifest["kind"]} "{manifest["metadata"]["name"]}" is invalid:'
    )
    assert text in refusal


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        (
            _manifest(data={"value": True}),
            "json: cannot unmarshal bool into Go struct field ConfigMap.data of type string",
        ),
        (
            _manifest(data={"value": 83}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            _manifest(data=["value"]),
            (
                "json: cannot unmarshal array into Go struct field ConfigMap.data "
                "of type map[string]string"
            ),
        ),
        (
            _manifest("Namespace", lables={}, metadata={"anotations": {}}),
            'strict decoding error: unknown field "lables", unknown field "metadata.anotations"',
        ),
    ],
    ids=["bool", "number", "labels", "unknown"],
)
def test_objects_of_the_wrong_shape_are_refused(store, manifest, text):
    """What cannot be decoded is refused as recorded (argo-recordings/injection-manifest)."""
    kind = manifest["kind"]
    why = f'{kind} in version "v1" cannot be handled as a {kind}: {text}'

    assert _refusal(store, manifest) == ("BadRequest", why)


@pytest.mark.parametrize(
    "manifest",
    [
        _manifest("ResourceQuota", spec={"hard": {"cpu": "two"}}),
        _manifest("LimitRange", spec={"limits": [{"type": "Container", "default": {"cpu": True}}]}),
    ],
    ids=["quota", "limits"],
)
def test_quantities_are_checked(store, manifest):
    """A quota of "two" is refused before anyone relies on it."""
    reason, text = _refusal(store, manifest)

    assert reason == "BadRequest"
    assert "quantities must match the regular expression" in text


def test_custom_kinds_are_taken_and_unknown_core_kinds_refused(store):
    """A ServiceMonitor needs no definition here; a misspelt core kind is an error."""
    store.create(_manifest("ServiceMonitor", spec={"anything": 1}), namespace="team-a")

    assert store.kind_named("servicemonitors.monitoring.coreos.com").name == "ServiceMonitor"
    assert kind_of("policies.example.com/v1", "Policy").plural == "policies"
    assert kind_of("a.example.com/v1", "Gateway").plural == "gateways"
    assert kind_of("a.example.com/v1", "Mesh").plural == "meshes"
    for api_version, kind in (
        ("v1", "Namespac"),
        ("apps/v2x", "X"),
        ("a.k8s.io/v1", "X"),
        ("a.b/v1", ""),
    ):
        with pytest.raises(ApiError, match=f'no matches for kind "{kind}"'):
            kind_of(api_version, kind)
    with pytest.raises(ApiError, match='have a resource type "nope"'):
        store.kind_named("nope")


@pytest.mark.parametrize(
    ("manifest", "where"),
    [
        (_manifest("Ingress", spec={"rules": 1}), "Ingress.spec.rules of type []object"),
        (_manifest("NetworkPolicy", spec={"policyTypes": 1}), "NetworkPolicy.spec.policyTypes of"),
        (_manifest("ResourceQuota", spec={"hard": 1}), "ResourceQuota.spec.hard of type object"),
        (_manifest("LimitRange", spec={"limits": {}}), "LimitRange.spec.limits of type []object"),
        (_manifest("Role", rules=1), "Role.rules of type []object"),
        (_manifest("RoleBinding", subjects={}), "RoleBinding.subjects of type []object"),
        (_manifest("Namespace", spec="x"), "Namespace.spec of type object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lists_and_maps_are_where_they_belong(store, manifest, where):
    """A list in the place of a map is refused, whatever kind it is."""
    reason, text = _refusal(store, manifest)

    assert reason == "BadRequest"
    assert where in text


def test_an_ingress_rule_without_paths_is_taken(store):
    """What Kubernetes leaves open is left open."""
    spec = {"rules": [{"host": "a"}]}

    assert store.create(_manifest("Ingress", spec=spec), namespace="team-a")["spec"] == spec


@pytest.mark.parametrize("rule", ["x", {"http": {"paths": 1}}], ids=str)
def test_an_ingress_rule_of_the_wrong_shape_is_refused(store, rule):
    """A rule that no ingress controller could read is an error."""
    reason, text = _refusal(store, _manifest("Ingress", spec={"rules": [rule]}))

    assert reason == "Invalid"
    assert "spec.rules[0]: Invalid value" in text


def test_an_empty_text_is_no_map(store):
    """A value that became empty is refused like any other wrong one."""
    refused = _refusal(store, _manifest(metadata={"labels": ""}))

    assert refused[0] == "BadRequest"
    assert "cannot unmarshal string into Go struct field ObjectMeta.metadata.labels" in refused[1]


def test_a_manifest_without_metadata_is_refused(store):
    """An object without a name is no object."""
    assert _refusal(store, {"apiVersion": "v1", "kind": "ConfigMap"})[0] == "Invalid"


@settings(max_examples=400, deadline=None, derandomize=True)
@given(KINDS, FIELDS, METADATA, JSON)
def test_nothing_but_a_refusal_leaves_the_store(kind, fields, metadata, patch):
    """Whatever a manifest became by substitution, it is taken or refused, never a crash."""
    store = ObjectStore(namespaces=("default", "x"))
    manifest = {**_manifest(kind), **fields}
    if metadata:
        manifest["metadata"] = metadata
    try:
        store.apply(manifest, namespace="x")
        store.apply(manifest, namespace="x")
        change = {"spec": patch, "metadata": patch}
        store.patch(_key(store, manifest, "x"), change, strategy="merge")
    except ApiError as error:
        assert str(error)  # noqa: PT017 - a refusal has a reason; success is right too
