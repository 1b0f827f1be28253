"""The published document, aimed: what exists stands in place of what may be written.

Random text hits no run and no action, so that hardly a line behind the first check would ever be
reached. (Both in one schema would not do: "one of these, or any text" is any text.) Knows the
shapes of the document. Must not know how requests are drawn from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

NAMES = tuple(f"fuzz-{letter}" for letter in "abcdefgh")
"""Few, and each with a lock: however many runs are asked for, hardly any goes to Argo."""


def aimed(
    document: Mapping[str, Any], *, actions: Sequence[Mapping[str, Any]], runs: Sequence[str]
) -> dict[str, Any]:
    """*document* with ids that exist for any text, and inputs that fit for any object."""
    found = deepcopy(dict(document))
    ids = [str(action["id"]) for action in actions]
    known = {
        "run_id": runs,
        "request_id": runs,
        "action_id": ids,
        "kind": ["resource"],
        "file": ["local.yaml", *(f"{name}.yaml" for name in NAMES)],
    }
    for operations in found["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["name"] in known:
                    parameter["schema"] = {"enum": list(known[parameter["name"]])}
    inputs = {"anyOf": [_input(action) for action in actions]}
    schemas = found["components"]["schemas"]
    schemas["RunRequest"]["properties"] |= {"action": {"enum": ids}, "input": inputs}
    schemas["NamespaceRequest"] = inputs
    return found


def _input(action: Mapping[str, Any]) -> dict[str, Any]:
    schema = deepcopy(action["schema"]["input"])
    schema.pop("$schema")
    if "namespaceName" in schema["properties"]:
        schema["properties"]["namespaceName"] = {"enum": list(NAMES)}
    return dict(schema)
