"""Resource templates: on objects in memory, and through kubectl."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from bridge.localargo.cluster import NOT_ONE_OBJECT, MemoryCluster, ResourceError
from bridge.localargo.kubectl import KubectlCluster
from bridge.localargo.objects import ObjectStore
from bridge.localargo.tags import Scope, substitute

RECORDINGS = Path(__file__).parent / "recordings"
TEMPLATES = {
    each["metadata"]["name"]: each["spec"]["templates"][0]
    for each in yaml.safe_load_all((RECORDINGS / "templates.yaml").read_text())
}
MANIFESTS = [
    case
    for case in json.loads((RECORDINGS / "injection-manifest.json").read_text())
    if case["status"] == 200 and case["phase"] != "Error"
]
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {a: b}\n"
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team-a}\n"
FAKE_KUBECTL = """#!{python}
import json, os, pathlib, sys, time
calls = pathlib.Path(os.environ["FAKE_CALLS"])
files = [a for a in sys.argv if a.endswith("manifest.yaml")]
text = pathlib.Path(files[0]).read_text() if files else ""
calls.write_text(json.dumps([sys.argv[1:], os.environ["KUBECONFIG"], text, files[:1]]))
answer = json.loads(os.environ["FAKE_ANSWER"])
sys.stderr.write(answer["stderr"].replace("FILE", (files or [""])[0]))
sys.stdout.write(answer["stdout"])
sys.stdout.flush()
time.sleep(answer["sleep"])
sys.exit(answer["code"])
"""


@pytest.fixture
def cluster():
    """A cluster in memory with the namespaces `default` and `argo-workflows`."""
    return MemoryCluster(ObjectStore(namespaces=("default", "argo-workflows")))


async def _run(cluster, action, manifest=None, *flags, namespace="default", **more):
    return await cluster.run(action, manifest=manifest, flags=flags, namespace=namespace, **more)


async def _refusal(cluster, action, manifest=None, *flags, **more):
    with pytest.raises(ResourceError) as caught:
        await _run(cluster, action, manifest, *flags, **more)
    return str(caught.value)


@pytest.mark.parametrize("case", MANIFESTS, ids=lambda case: case["case"])
async def test_values_in_manifests_do_what_was_recorded(cluster, case):
    """What a hostile value makes of a manifest, and what the step then says, is as recorded."""
    parameters = {"workflow.parameters.v": case["value"], "workflow.parameters.cm": "mp"}
    names = {"quoted": "mquo", "unquoted": "munq", "tojson": "mtoj"}
    template, short = case["case"].removeprefix("manifest-").split("/")
    parameters["workflow.name"] = f"{names[template]}-{short}"
    resource = substitute(TEMPLATES[f"manifest-{template}"], Scope(parameters))["resource"]

    message = None
    try:
        await _run(cluster, resource["action"], resource["manifest"], namespace="argo-workflows")
    except ResourceError as error:
        message = f"main: Error (exit code 64): {error}"

    assert message == case.get("message")
    made = {each["metadata"]["name"]: each for each in cluster.objects.list(kind="ConfigMap")}
    if case.get("configmap_data") == "(not created)":
        assert made == {}
    else:
        assert (made.pop("mp").get("data") or None) == case.get("configmap_data")
        evil = message is not None and NOT_ONE_OBJECT in message
        assert len(made) == (1 if evil else 0)


async def test_an_object_goes_where_the_template_says(cluster):
    """Manifest, flag and the workflow's own namespace decide in this order."""
    named = CONFIG_MAP.replace("name: one", "name: two, namespace: argo-workflows")

    found = [
        await _run(cluster, "create", CONFIG_MAP),
        await _run(cluster, "create", CONFIG_MAP, "-n", "argo-workflows"),
        await _run(cluster, "create", named),
    ]

    assert [each["metadata"]["namespace"] for each in found] == [
        "default",
        "argo-workflows",
        "argo-workflows",
    ]
    assert "does not match the namespace" in await _refusal(
        cluster, "create", named, "--namespace=default"
    )


@pytest.mark.parametrize(
    ("action", "manifest", "text"),
    [
        (
            "create",
            NAMESPACE.replace("team-a", "default"),
            (
                'Error from server (AlreadyExists): error when creating "/tmp/manifest.yaml": '
                'namespaces "default" already exists'
            ),
        ),
        (
            "apply",
            CONFIG_MAP.replace("name: one", "name: one, namespace: x"),
            (
                'Error from server (NotFound): error when creating "/tmp/manifest.yaml": '
                'namespaces "x" not found'
            ),
        ),
        (
            "replace",
            CONFIG_MAP,
            (
                'Error from server (NotFound): error when replacing "/tmp/manifest.yaml": '
                'configmaps "one" not found'
            ),
        ),
        ("get", CONFIG_MAP, 'Error from server (NotFound): configmaps "one" not found'),
        ("patch", NAMESPACE, 'Error from server (NotFound): namespaces "team-a" not found'),
        (
            "apply",
            "apiVersion: v1\nkind: Nope\nmetadata: {name: x}\n",
            (
                'error: resource mapping not found for name in "/tmp/manifest.yaml": '
                'no matches for kind "Nope" in version "v1"'
            ),
        ),
        (
            "apply",
            NAMESPACE.replace("team-a", "Team"),
            (
                'The Namespace "Team" is invalid: metadata.name: Invalid value: "Team": '
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
                "or '-', and must start and end with an alphanumeric character "
                "(e.g. 'my-name',  or '123-abc', regex "
                "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ),
        ),
        (
            "apply",
            "[1]",
            'error: unable to decode "/tmp/manifest.yaml": an object is expected, not [1]',
        ),
    ],
    ids=["exists", "no namespace", "replace", "get", "patch", "kind", "invalid", "list"],
)
async def test_refusals_are_the_lines_of_kubectl(cluster, action, manifest, text):
    """A failed resource step says what kubectl would have said."""
    assert await _refusal(cluster, action, manifest) == f"no more retries {text}"


async def test_only_one_object_is_taken(cluster):
    """Several objects are made and then fail the step, as Argo does."""
    several = f"{NAMESPACE}---\n{CONFIG_MAP}"
    listed = f"apiVersion: v1\nkind: List\nitems: [{json.dumps(yaml.safe_load(NAMESPACE))}]\n"

    assert await _refusal(cluster, "apply", several) == NOT_ONE_OBJECT
    assert len(cluster.objects.list(kind="ConfigMap")) == 1
    assert await _run(cluster, "apply", listed) is not None
    assert await _refusal(cluster, "apply", "# nothing\n") == NOT_ONE_OBJECT


async def test_rolling_back_deletes_by_name_label_and_manifest(cluster):
    """An exit handler can delete what a run made, and what is not there does not matter."""
    labelled = NAMESPACE.replace("name: team-a", "name: team-a, labels: {run: r1}")
    for _ in range(2):
        await _run(cluster, "apply", labelled)
        assert await _run(cluster, "delete", None, "namespace", "-l", "run=r1") is None
        assert len(cluster.objects.list(kind="Namespace")) == 2
    await _run(cluster, "create", NAMESPACE)
    for arguments in (
        (None, "ns/team-a", "--wait=false"),
        (None, "namespaces", "team-a"),
        (NAMESPACE,),
    ):
        assert await _run(cluster, "delete", *arguments) is None
        assert len(cluster.objects.list(kind="Namespace")) == 2


async def test_rolling_back_what_was_never_made(cluster):
    """A rollback finds nothing of a custom kind, and that is no failure."""
    flags = ("schedules.velero.io", "-l", "run=r1")
    schedule = "apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: s, labels: {run: r1}}\n"

    assert await _run(cluster, "delete", None, *flags) is None
    await _run(cluster, "create", schedule)
    assert await _run(cluster, "delete", None, *flags) is None
    assert cluster.objects.list(kind="Schedule") == []


async def test_deleting_looks_into_one_namespace_or_all(cluster):
    """A selector deletes in its namespace only, unless told otherwise."""
    for namespace in ("default", "argo-workflows"):
        await _run(cluster, "create", CONFIG_MAP, namespace=namespace)

    await _run(cluster, "delete", None, "configmap", "--all")
    assert [each["metadata"]["namespace"] for each in cluster.objects.list("ConfigMap")] == [
        "argo-workflows"
    ]
    await _run(cluster, "delete", None, "cm", "-A", "-l", "!x")
    assert cluster.objects.list("ConfigMap") == []


async def test_get_reads_one_object(cluster):
    """Get answers the object, nothing with --ignore-not-found, and fails for several."""
    assert (await _run(cluster, "get", None, "namespace", "default"))["kind"] == "Namespace"
    assert await _run(cluster, "get", None, "ns", "nope", "--ignore-not-found") is None
    assert await _refusal(cluster, "get", None, "ns", "--all") == NOT_ONE_OBJECT
    assert "(NotFound)" in await _refusal(
        cluster, "get", None, "ns", "x", "--ignore-not-found=false"
    )


async def test_patches_name_their_object_or_carry_it(cluster):
    """A patch takes its target from the manifest, or from the flags."""
    patch = 'apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {a: "1"}}\n'
    operations = '[{"op": "add", "path": "/metadata/labels/b", "value": "2"}]'

    await _run(cluster, "patch", patch, merge_strategy="merge")
    await _run(cluster, "patch", "metadata: {labels: {c: '3'}}", "namespace", "default")
    found = await _run(cluster, "patch", operations, "ns/default", merge_strategy="json")

    labels = found["metadata"]["labels"]
    assert labels == {"a": "1", "b": "2", "c": "3", "kubernetes.io/metadata.name": "default"}
    assert "must specify" in await _refusal(cluster, "patch", operations, merge_strategy="json")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["ns", "x", "--dry-run=client"], "unknown flag: --dry-run"),
        (["ns", "x", "-f"], "unknown shorthand flag: 'f' in -f"),
        (["ns", "-l"], "flag needs an argument: shorthand flag: 'l' in -l"),
        (["ns"], "resource(s) were provided, but no name was specified"),
        (["nope", "x"], 'have a resource type "nope"'),
        (["ns", "-l", "a b"], "unable to parse requirement"),
    ],
)
async def test_flags_are_never_ignored(cluster, flags, text):
    """A flag that is not known here fails the step."""
    assert text in await _refusal(cluster, "get", None, *flags)


async def test_empty_calls_and_unknown_actions_are_refused(cluster, tmp_path):
    """A resource template that asks for nothing fails, whichever cluster it is for."""
    for one in (cluster, KubectlCluster(tmp_path / "config")):
        assert await _refusal(one, "get") == "Must provide at least one of flags or manifest."
        assert "does not do the action scale" in await _refusal(one, "scale", CONFIG_MAP)


async def test_reading_again_sees_changes_and_deletion(cluster):
    """Conditions look at the object as it is now; a deleted one ends the wait."""
    found = await _run(cluster, "create", CONFIG_MAP)
    await _run(cluster, "apply", CONFIG_MAP.replace("a: b", "a: c"))

    assert (await cluster.read(found))["data"] == {"a": "c"}
    await _run(cluster, "delete", CONFIG_MAP)
    with pytest.raises(ResourceError, match=r"has been deleted while .* Will not be retried"):
        await cluster.read(found)


class _FakeKubectl:
    """A `kubectl` on PATH that notes its call and answers what it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = folder / "kubectl"
        program.write_text(FAKE_KUBECTL.format(python=sys.executable))
        program.chmod(0o755)
        self._calls = folder / "calls.json"
        self._set = monkeypatch.setenv
        self._set("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        self._set("FAKE_CALLS", str(self._calls))
        self.answers(stdout=json.dumps(yaml.safe_load(CONFIG_MAP)))

    def answers(self, *, stdout="", stderr="", code=0, sleep=0):
        answer = {"stdout": stdout, "stderr": stderr, "code": code, "sleep": sleep}
        self._set("FAKE_ANSWER", json.dumps(answer))

    @property
    def called(self) -> list[str]:
        """The arguments, with the path of the manifest as FILE."""
        arguments, _, _, files = self._call()
        return ["FILE" if argument in files else argument for argument in arguments]

    @property
    def seen(self) -> tuple[str, str]:
        """KUBECONFIG and the text of the manifest."""
        _, config, text, _ = self._call()
        return config, text

    def _call(self):
        return json.loads(self._calls.read_text())


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A fake kubectl first on PATH."""
    return _FakeKubectl(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "case",
    [
        ("apply", CONFIG_MAP, [], None, "apply -f FILE -o json --namespace ns"),
        ("create", NAMESPACE, ["--x"], None, "create --x -f FILE -o json --namespace ns"),
        (
            "apply",
            CONFIG_MAP.replace("one", "one, namespace: y"),
            [],
            None,
            "apply -f FILE -o json",
        ),
        ("get", None, ["ns", "x", "-n", "y"], None, "get ns x -n y -o json"),
        (
            "delete",
            None,
            ["ns", "-l", "a=b"],
            None,
            "delete --ignore-not-found ns -l a=b -o name --namespace ns",
        ),
        (
            "patch",
            CONFIG_MAP,
            [],
            "merge",
            "patch --type merge --patch-file FILE -f FILE -o json --namespace ns",
        ),
        (
            "patch",
            "data: {}",
            ["cm", "one"],
            None,
            "patch --type strategic --patch-file FILE cm one -o json --namespace ns",
        ),
        (
            "patch",
            "[]",
            ["cm", "one", "--namespace=y"],
            "json",
            "patch --type json --patch-file FILE cm one --namespace=y -o json",
        ),
        ("apply", "{", [], None, "apply -f FILE -o json --namespace ns"),
    ],
)
async def test_kubectl_is_called_as_argos_executor_calls_it(kubectl, tmp_path, case):
    """On a real cluster a template does what it would do under a real Argo."""
    action, manifest, flags, strategy, called = case
    cluster = KubectlCluster(tmp_path / "config")

    found = await _run(cluster, action, manifest, *flags, namespace="ns", merge_strategy=strategy)

    assert " ".join(kubectl.called) == called
    assert kubectl.seen[0] == str(tmp_path / "config")
    assert kubectl.seen[1] == ((manifest or "") if "FILE" in called else "")
    assert (found is None) == (action == "delete")


async def test_kubectls_complaint_is_the_steps_message(kubectl, tmp_path):
    """The message shows kubectl's own line, with the path that Argo has."""
    kubectl.answers(stderr='Error from server: error when creating "FILE": no\n', code=1)

    refusal = await _refusal(KubectlCluster(tmp_path), "apply", CONFIG_MAP)

    assert refusal == (
        'no more retries Error from server: error when creating "/tmp/manifest.yaml": no'
    )


async def test_kubectls_odd_answers_are_errors(kubectl, tmp_path):
    """A list, no JSON, or nothing where an object should be does not pass as an object."""
    cluster = KubectlCluster(tmp_path)

    kubectl.answers(stdout='{"kind": "List", "items": [], "metadata": {}}')
    assert await _refusal(cluster, "apply", CONFIG_MAP) == NOT_ONE_OBJECT
    kubectl.answers(stdout="hello")
    assert "kubectl printed no JSON" in await _refusal(cluster, "apply", CONFIG_MAP)
    kubectl.answers()
    assert await _run(cluster, "get", None, "ns", "x", "--ignore-not-found") is None


async def test_a_kubectl_that_hangs_is_ended(kubectl, tmp_path):
    """A cluster that does not answer fails the step after the timeout."""
    kubectl.answers(sleep=60)

    refusal = await _refusal(KubectlCluster(tmp_path, timeout=0.2), "apply", CONFIG_MAP)

    assert refusal == "no more retries kubectl gave no answer within 0.2 s"


async def test_a_stopped_step_leaves_no_kubectl_behind(kubectl, tmp_path):
    """Cancelling a step ends the kubectl that it started."""
    kubectl.answers(sleep=60)
    step = asyncio.create_task(_run(KubectlCluster(tmp_path), "apply", CONFIG_MAP))
    async with asyncio.timeout(20):
        while not (tmp_path / "calls.json").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)

    step.cancel()

    with pytest.raises(asyncio.CancelledError):
        await step


async def test_a_missing_kubectl_is_told(tmp_path, monkeypatch):
    """Without kubectl on PATH the step says so."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "cannot start kubectl" in await _refusal(KubectlCluster(tmp_path), "apply", CONFIG_MAP)


async def test_reading_again_asks_for_the_object_by_group_and_namespace(kubectl, tmp_path):
    """Conditions and outputs read exactly the object that was written."""
    metadata = {"name": "x", "namespace": "y"}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}
    cluster = KubectlCluster(tmp_path)

    assert (await cluster.read(binding))["kind"] == "ConfigMap"
    assert " ".join(kubectl.called) == "get Role.rbac.authorization.k8s.io/x -o json -n y"
    await cluster.read(yaml.safe_load(NAMESPACE))
    assert " ".join(kubectl.called) == "get Namespace/team-a -o json"
