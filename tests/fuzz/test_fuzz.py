"""A short round of what ``make fuzz`` plays for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.rounds import Rounds
from tests.fuzz.stage import target


@pytest.mark.mass
def test_every_answer_is_as_published(tmp_path: Path):
    """A client made from the OpenAPI document meets no status and no shape that it does not say."""
    with target(tmp_path) as found:
        rounds = Rounds(found, seed=20_261_122)
        rounds.play(examples=4)

        assert rounds.complaints() == []
        assert rounds.requests > 400
        answered = {
            status
            for tally in rounds.tallies.values()
            for counted in tally.statuses.values()
            for status in counted
        }
        assert {200, 202, 400, 401, 403, 404, 422} <= answered
