"""What each ServiceAccount of the manifests may do, asked of a real authorizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster


@dataclass(frozen=True, slots=True)
class Row:
    """What one account may and may not do with one resource in one place."""

    account: str
    allowed: tuple[str, ...]
    forbidden: tuple[str, ...]
    resource: str
    place: str

    @classmethod
    def parse(cls, line: str) -> Row:
        """Read one line of the table."""
        account, allowed, forbidden, resource, place = (part.strip() for part in line.split("|"))
        return cls(account, tuple(allowed.split()), tuple(forbidden.split()), resource, place)


TABLE = Path(__file__).with_name("rights.txt").read_text()
ROWS = [Row.parse(line) for line in TABLE.splitlines() if line and not line.startswith("#")]
PLACES = ("argo", "argo-workflows", "argo-bridge", "default")
ACCOUNTS = list(dict.fromkeys(row.account for row in ROWS))


@pytest.mark.parametrize("account", ACCOUNTS)
def test_each_account_may_do_its_work_and_no_more(
    cluster: Cluster, report: list[str], account: str
):
    """A stolen token opens what the account's work needs: rights.txt says what that is."""
    rows = [row for row in ROWS if row.account == account]
    kubectl = cluster.admin.impersonating(_subject(account))
    report.append(f"{account}:")
    wrong = []
    for row in rows:
        expected = dict.fromkeys(row.allowed, True) | dict.fromkeys(row.forbidden, False)
        can = {verb: kubectl.can(verb, row.resource, row.place) for verb in expected}
        wrong += [
            (row.resource, row.place, v, "may" if can[v] else "may not")
            for v in can
            if can[v] is not expected[v]
        ]
        may = " ".join(verb for verb in can if can[verb]) or "-"
        not_ = " ".join(verb for verb in can if not can[verb]) or "-"
        report.append(f"  {row.resource} in {row.place}: may {may}; may not {not_}")
    assert wrong == []


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_table_says_all_that_an_account_may(cluster: Cluster, account: str):
    """Nobody gets a right that rights.txt does not show."""
    rows = [row for row in ROWS if row.account == account]
    kubectl = cluster.admin.impersonating(_subject(account))
    for place in PLACES:
        shown = {
            (verb, row.resource)
            for row in rows
            if row.place in {place, "*"}
            for verb in row.allowed
        }
        assert sorted(kubectl.rights(place) - shown) == [], place


def test_no_account_is_left_out(cluster: Cluster):
    """Whoever adds an account to the manifests says here what it may do."""
    made = {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}"
        for each in cluster.documents("ServiceAccount")
    }
    assert made - set(ACCOUNTS) == set()


def test_a_token_of_the_bridge_has_these_rights(cluster: Cluster):
    """The rights hold for the account's own token too, not only in its name."""
    bridge = cluster.account("argo-bridge", "argo-bridge")
    assert bridge.can("create", "workflows.argoproj.io", "argo-workflows")
    assert not bridge.can("create", "workflows.argoproj.io", "argo-bridge")
    assert not bridge.can("get", "secrets", "argo-workflows")


def _subject(account: str) -> str:
    return f"system:serviceaccount:{account.replace('/', ':')}"
