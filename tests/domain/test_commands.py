"""What competes with what among the commands on a run."""

from __future__ import annotations

from bridge.domain.commands import Command, Verb
from tests.domain.making import NOW


def test_approving_and_rejecting_compete_for_their_gate():
    """Only one decision is ever made on one gate, and another gate is another matter."""
    approve = Command("run", Verb.APPROVE, by="ann", at=NOW, gate="g1")
    reject = Command("run", Verb.REJECT, by="bob", at=NOW, gate="g1")
    other = Command("run", Verb.REJECT, by="bob", at=NOW, gate="g2")

    assert approve.slot == reject.slot != other.slot


def test_cancelling_and_terminating_do_not_compete():
    """Who has cancelled may still terminate: it is a second, explicit step."""
    cancel = Command("run", Verb.CANCEL, by="ann", at=NOW)
    terminate = Command("run", Verb.TERMINATE, by="ann", at=NOW)

    assert cancel.slot != terminate.slot
