"""A gate that somebody has begun to open in Argo's own pages (suspend-set-outputs)."""

from __future__ import annotations

import json

import pytest

from bridge.domain.errors import GateClosed
from tests.adapters.argo import approve, engine_for
from tests.adapters.replay import Exchange, Reply, exchanges


def recorded(call: str, fragment: str) -> Exchange:
    """The first exchange of the recording with *fragment* in its answer."""
    found = (e for e in exchanges("suspend-set-outputs") if e.call == call and fragment in e.text)
    return next(found)


HAS_OUTPUT = recorded("set", "or it was already set").reply
HALF_OPEN = recorded("get", '"value":"MAYBE"').reply
CLOSED = recorded("get", "Succeeded").reply
DONE = recorded("set", '"value":"YES"').reply


async def test_outputs_that_are_there_are_not_sent_again():
    """An approval goes through although its first output was supplied in Argo's pages before."""
    async with engine_for([HAS_OUTPUT, HALF_OPEN, DONE]) as rig:
        await approve(rig.engine, {"approve": "MAYBE", "comment": "fine"})
    first, second = [r.json() for r in rig.received if r.method == "PUT"]
    assert json.loads(first["outputParameters"]) == {"approve": "MAYBE", "comment": "fine"}
    assert json.loads(second.pop("outputParameters")) == {"comment": "fine"}
    assert second == {
        "nodeFieldSelector": "id=so-1-4027464474",
        "message": "yes",
        "phase": "Succeeded",
    }


@pytest.mark.parametrize(("gate", "text"), [(HALF_OPEN, "supplied approve"), (CLOSED, "not open")])
async def test_a_decision_in_argo_is_never_overruled(gate: Reply, text: str):
    """Whoever supplied another value in Argo's pages has decided; the bridge does not."""
    async with engine_for([HAS_OUTPUT, gate, DONE]) as rig:
        with pytest.raises(GateClosed, match=text):
            await approve(rig.engine, {"approve": "YES"})
    assert len(rig.received) == 2
