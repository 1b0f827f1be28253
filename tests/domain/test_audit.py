"""The chain of the audit trail: what was changed, removed, put in or moved is found."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.audit import (
    GENESIS,
    AuditDraft,
    AuditRecord,
    Verifier,
    hash_of,
    linked,
    record_json,
)
from bridge.domain.callers import Source
from tests.domain.making import NOW

DRAFTS = (
    AuditDraft("run.accept", "plugin:scaffolder", "user:default/ann", "r1"),
    AuditDraft("run.approve", "service:ops", None, "r1", "é, as agreed", "asked", {"a": [1]}),
    AuditDraft("run.cancel", "c", tenant="acme", source=Source("10.0.0.1", "request-1")),
    AuditDraft("run.retry", "c", outcome="forbidden"),
    AuditDraft("run.accept", "c"),
)
Trail = list[dict[str, Any]]


def chain(*drafts: AuditDraft, older: int = 0) -> Trail:
    """A shown trail, newest first; *older* records were written before there was a chain."""
    records: list[AuditRecord] = []
    for number, draft in enumerate(drafts, start=1):
        previous = records[-1].hash if records else None
        now = NOW + timedelta(seconds=number, microseconds=1_999)
        record = linked(draft, now=now, number=number, previous=previous)
        records.append(AuditRecord(number, now, draft) if number <= older else record)
    return [record_json(record) for record in reversed(records)]


def verdict(trail: Trail, *, head: str | None = None) -> str | None:
    """What is found to be wrong."""
    verifier = Verifier(head=head)
    for record in trail:
        verifier.add(record)
    return verifier.problem()


def test_a_chain_that_nobody_touched_is_sound():
    """An auditor is told how much was checked, and where the chain ends."""
    trail = chain(*DRAFTS)
    verifier = Verifier(head=trail[2]["hash"])
    for record in trail:
        verifier.add(json.loads(json.dumps(record)))
    assert verifier.problem() is None
    assert (verifier.linked, verifier.older, verifier.newest) == (5, 0, trail[0]["hash"])
    assert trail[-1]["previous"] == GENESIS
    assert trail[0]["time"].endswith(".001Z")


def test_the_hash_can_be_computed_by_anybody():
    """An auditor needs a JSON library and SHA-256, and nothing of ours."""
    record = chain(*DRAFTS)[1]
    hash_ = record.pop("hash")
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    assert sha256(text.encode()).hexdigest() == hash_


@pytest.mark.parametrize("field", [*record_json(AuditRecord(1, NOW, DRAFTS[0])), "new"])
def test_a_changed_field_is_found(field: str):
    """No part of a record can be changed, not even its number or its time, nor one be added."""
    trail = chain(*DRAFTS)
    trail[2][field] = 99 if field == "number" else "another"
    found = verdict(trail)
    assert found is not None
    assert found.startswith("record")


def test_a_record_that_was_changed_with_its_hash_is_found():
    """Who computes the hash of the changed record anew is betrayed by the next record."""
    trail = chain(*DRAFTS)
    trail[2]["reason"] = "another"
    trail[2]["hash"] = hash_of(trail[2])
    assert verdict(trail) == (
        "record 4 was not written after record 3 as it stands: one was changed, put in, or moved"
    )


@pytest.mark.parametrize(
    ("gone", "found"),
    [
        (1, "record 4 is missing between 3 and 5"),
        (3, "record 2 is missing between 1 and 3"),
        (4, "the records before 2 are missing"),
    ],
)
def test_a_removed_record_is_found(gone: int, found: str):
    """A record cannot be taken out, and it is said which one was."""
    trail = chain(*DRAFTS)
    del trail[gone]
    assert verdict(trail) == found


def test_several_removed_records_are_named():
    """A gap has a beginning and an end."""
    trail = chain(*DRAFTS)
    del trail[1:3]
    assert verdict(trail) == "records 3 to 4 are missing between 2 and 5"


def test_a_removal_that_was_patched_over_is_found_by_the_numbers():
    """Links computed anew do not hide a gap in the numbers."""
    trail = chain(*DRAFTS)
    del trail[1]
    trail[0]["previous"] = trail[1]["hash"]
    trail[0]["hash"] = hash_of(trail[0])
    assert verdict(trail) == "record 4 is missing between 3 and 5"


def test_an_inserted_record_is_found():
    """Nobody can be made to have done something afterwards."""
    trail = chain(*DRAFTS)
    forged = {**trail[2], "user": "user:default/eve", "previous": trail[2]["hash"]}
    trail.insert(2, {**forged, "hash": hash_of(forged)})
    found = verdict(trail)
    assert found is not None
    assert found.startswith("record 3 was not written after record 3 as it stands")


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_records_that_changed_places_are_found(place: int):
    """The order is a part of what is told."""
    trail = chain(*DRAFTS)
    trail[place], trail[place + 1] = trail[place + 1], trail[place]
    assert verdict(trail) is not None


def test_a_repeated_record_is_found():
    """What was done once is not told twice."""
    trail = chain(*DRAFTS)
    trail.insert(1, trail[1])
    assert verdict(trail) is not None


def test_a_cut_end_is_found_by_a_hash_that_is_known():
    """Whoever noted the newest hash sees that records behind it are gone, or all were rewritten."""
    trail = chain(*DRAFTS)
    head = trail[0]["hash"]
    assert verdict(trail[1:]) is None
    for other in (trail[1:], chain(*DRAFTS[1:]), []):
        found = verdict(other, head=head)
        assert found is not None
        assert found.startswith(f"no record has the hash {head}")
    assert verdict(trail, head=head) is None


def test_the_oldest_problem_is_the_one_that_is_told():
    """Everything before the named record can be relied on."""
    trail = chain(*DRAFTS)
    for place in (0, 3):
        trail[place]["reason"] = "another"
    assert verdict(trail) == "record 2 was changed"


def test_records_of_before_the_chain_are_counted_and_left():
    """An older trail goes on; what was written without a hash is told apart."""
    trail = chain(*DRAFTS, older=2)
    verifier = Verifier()
    for record in trail:
        verifier.add(record)
    assert (verifier.problem(), verifier.linked, verifier.older) == (None, 3, 2)


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
def test_a_record_that_lost_its_hash_is_found(place: int):
    """Nobody passes a changed record off as one of before the chain."""
    trail = chain(*DRAFTS)
    trail[place] |= {"hash": "", "previous": "", "reason": "another"}
    assert verdict(trail) is not None


@given(st.data())
def test_no_change_passes(data: st.DataObject):
    """Whatever somebody does to the records but for the end of the trail is found."""
    sound = chain(*DRAFTS)
    trail = copy.deepcopy(sound)
    places = st.integers(0, len(trail) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        match data.draw(st.sampled_from(["change", "remove", "move", "copy"])):
            case "change":
                field = data.draw(st.sampled_from(sorted(sound[0])))
                trail[data.draw(places) % len(trail)][field] = data.draw(st.text() | st.integers())
            case "remove" if len(trail) > 1:
                del trail[data.draw(places) % len(trail)]
            case "move":
                record = trail.pop(data.draw(places) % len(trail))
                trail.insert(data.draw(places), record)
            case _:
                # A copy: a later change would otherwise be one of what it is compared with.
                trail.insert(data.draw(places), dict(data.draw(st.sampled_from(sound))))
    untouched = any(trail == sound[cut:] for cut in range(len(sound) + 1))
    assert (verdict(trail) is None) == untouched
