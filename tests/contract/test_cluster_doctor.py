"""What the doctor asks a cluster's API: its version, and whether a role may do what it does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sluicegate.flows.wiring.cluster_checks import rights_finding, version_finding
from sluicegate.services.cluster.api import Api
from sluicegate.services.cluster.rights import Role
from sluicegate.services.host.doctor.finding import CheckStatus
from tests.doubles.api_server import ADMIN, ApiServer


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as running:
        running.tokens |= {"control": Role.CONTROL, "gateway": Role.GATEWAY}
        yield running


def test_whoever_has_the_role_may_do_what_it_does(server: ApiServer) -> None:
    for token in ("control", ADMIN):
        found = rights_finding(Api(server.access(token), "ml"), Role.CONTROL)
        assert (found.status, "namespace ml" in found.found) == (CheckStatus.PASS, True)
    assert server.used == set(), "asking uses no right"


def test_every_right_that_is_missing_is_named(server: ApiServer) -> None:
    found = rights_finding(Api(server.access("gateway"), "ml"), Role.CONTROL)
    assert found.status is CheckStatus.FAIL
    assert {"create deployments", "delete pods"} <= set(found.found.partition("may not: ")[2].split(", "))
    assert "list endpointslices" not in found.found
    assert "sluice cluster render" in (found.fix or "")


def test_a_version_that_is_not_known_is_said(server: ApiServer) -> None:
    assert version_finding(Api(server.access(), "ml").version()).status is CheckStatus.PASS
    for version in ("v1.32.9", "v0.9", "dev"):
        assert version_finding(version).status is CheckStatus.FAIL
