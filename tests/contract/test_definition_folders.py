"""Definitions from folders, and the machine's own time and chance."""

from __future__ import annotations

import json

import pytest
import yaml

from bridge.adapters.definitions import DefinitionFolders
from bridge.adapters.system import SystemChance, SystemClock
from bridge.domain.definitions import Catalogue, Problem
from bridge.domain.yaml_text import MAX_BYTES
from tests.domain.making import DOCUMENT

NONE = Catalogue(files={})


def put(root, folder: str, *, action_id: str = "thing:make", text: str | bytes | None = None):
    """Write one folder's ``action.yaml``."""
    made = json.loads(json.dumps(DOCUMENT))
    made["metadata"]["id"] = action_id
    raw = yaml.safe_dump(made) if text is None else text
    (root / folder).mkdir(parents=True, exist_ok=True)
    path = root / folder / "action.yaml"
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return path


def test_every_folder_is_an_action(tmp_path):
    """A folder that is added is an action that is offered; other files are none."""
    put(tmp_path / "one", "a", action_id="a:make")
    put(tmp_path / "one", "b", action_id="b:make")
    put(tmp_path / "two", "c", action_id="c:make")
    (tmp_path / "one" / "README.md").write_text("no action")

    loaded = DefinitionFolders((tmp_path / "one", tmp_path / "two")).load(last_good=NONE)

    assert set(loaded.actions) == {"a:make", "b:make", "c:make"}
    assert loaded.problems == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "is not YAML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("x" * (MAX_BYTES + 1), "is larger than 256 KiB"),
    ],
)
def test_a_bad_file_takes_no_other_down(tmp_path, text, message):
    """The others work, the bad one is named, and its last good version stays in use."""
    folders = DefinitionFolders((tmp_path,))
    put(tmp_path, "a", action_id="a:make")
    put(tmp_path, "b", action_id="b:make")
    before = folders.load(last_good=NONE)
    put(tmp_path, "b", text=text)

    after = folders.load(last_good=before)

    assert set(after.actions) == {"a:make", "b:make"}
    (problem,) = after.problems
    assert problem.file == "b/action.yaml"
    assert problem.message.startswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """What is there and cannot be opened is a problem and no crash."""
    (tmp_path / "a" / "action.yaml").mkdir(parents=True)

    loaded = DefinitionFolders((tmp_path,)).load(last_good=NONE)

    assert loaded.problems == (Problem("a/action.yaml", 0, "cannot be read: Is a directory"),)


def test_an_empty_folder_says_what_to_set(tmp_path):
    """A bridge without actions tells how to give it some."""
    loaded = DefinitionFolders((tmp_path / "none",)).load(last_good=NONE)

    (problem,) = loaded.problems
    assert "set BRIDGE_ACTIONS to the actions folder" in problem.message


async def test_the_machines_clock_goes_forward():
    """Times are aware and in UTC, and waiting waits."""
    clock = SystemClock()
    before, began = clock.now(), clock.monotonic()

    await clock.sleep(0.001)

    assert before.utcoffset().total_seconds() == 0
    assert clock.now() > before
    assert clock.monotonic() - began >= 0.001


def test_run_ids_sort_by_time_and_jitter_stays_in_its_half():
    """Newer runs sort after older ones, and no wait is longer than asked for."""
    chance = SystemChance()
    ids = [chance.run_id() for _ in range(50)]

    assert len(set(ids)) == 50
    assert all(len(one) == 26 and one == one.lower() for one in ids)
    assert [one[:10] for one in ids] == sorted(one[:10] for one in ids)
    assert all(5 <= chance.jitter(10) <= 10 for _ in range(50))


def test_request_ids_are_never_the_same():
    """Each request can be found in the log, whichever replica answered it."""
    ids = [each.request_id() for each in (SystemChance(), SystemChance()) for _ in range(500)]

    assert len(set(ids)) == 1000
    assert all(len(one) == 32 and int(one, 16) for one in ids)


RISKY = """\
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: make-thing}
spec:
  templates:
  - name: main
    script: {command: [sh], source: "ls '{{workflow.parameters.name}}'"}
  - name: guarded
    steps: [[{name: a, template: main, when: "{{workflow.parameters.name}} == x"}]]
"""


def test_an_action_is_refused_with_its_workflow(tmp_path):
    """Values that its WorkflowTemplate would run keep an action out; each is named by its line."""
    put(tmp_path, "a").with_name("workflow.yaml").write_text(RISKY)

    loaded = DefinitionFolders((tmp_path,)).load(last_good=NONE)

    assert loaded.files == {}
    assert [(problem.file, problem.line) for problem in loaded.problems] == [
        ("a/workflow.yaml", 7),
        ("a/workflow.yaml", 9),
    ]
    assert 'write ls "${NAME}" with env: [{name: NAME' in loaded.problems[0].message


def test_a_workflow_that_went_bad_leaves_the_last_good_version(tmp_path):
    """A running bridge sees the edit, says what is wrong, works on, and sees the cure."""
    folders = DefinitionFolders((tmp_path,))
    workflow = put(tmp_path, "a").with_name("workflow.yaml")
    before = folders.load(last_good=NONE)
    workflow.write_text(RISKY)

    during = folders.load(last_good=before)
    workflow.write_text(RISKY.partition("spec:")[0])
    after = folders.load(last_good=during)

    assert during.files == before.files
    assert len(during.problems) == 2
    assert after.problems == ()


def test_an_action_that_uses_the_workflow_of_another_is_refused_with_it(tmp_path):
    """Two actions may share a WorkflowTemplate; what is wrong with it is wrong for both."""
    put(tmp_path, "a", action_id="a:make").with_name("workflow.yaml").write_text(RISKY)
    put(tmp_path, "b", action_id="b:make")
    put(tmp_path, "c", action_id="c:make").with_name("workflow.yaml").write_text("a: [")
    text = yaml.safe_dump(DOCUMENT).replace("template: make-thing", "template: other")
    put(tmp_path, "d", text=text.replace("thing:make", "d:make"))

    loaded = DefinitionFolders((tmp_path,)).load(last_good=NONE)

    assert set(loaded.actions) == {"d:make"}
    assert [f"{p.file}:{p.line}: {p.message}" for p in loaded.problems if p.file[0] != "a"] == [
        "b/action.yaml:1: spec.workflow.template: make-thing of a/workflow.yaml is refused",
        "c/workflow.yaml:2: is not YAML: did not find expected node content",
        "c/action.yaml:1: spec.workflow.template: make-thing of a/workflow.yaml is refused",
    ]
