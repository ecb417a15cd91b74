"""The API under fuzzing by its own OpenAPI document, with and without a token: no 5xx, nothing undocumented."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import CHECKS

from tests.unit.console_office import BEARER, Office

_OFFICE = Office()
_OFFICE.running()
_FETCHED = _OFFICE.client.get("/api/v1/openapi.json", headers=BEARER).json()
SCHEMA = schemathesis.openapi.from_dict(_FETCHED)
SCHEMA.app = _OFFICE.client.app
_ASKED = CHECKS.get_by_names(["not_a_server_error", "status_code_conformance", "content_type_conformance"])
_BOUNDED = settings(
    max_examples=6, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _nobody_waits() -> Iterator[None]:
    """Of the many wrong tokens that are sent here: waiting has a test of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sluicegate.services.console.wrong_tries.LONGEST", 0.0)
        yield


@SCHEMA.parametrize()
@_BOUNDED
def test_whatever_is_sent_with_a_token_the_answer_is_one_that_is_documented(case: Case) -> None:
    case.call_and_validate(base_url="http://127.0.0.1", headers=BEARER, checks=_ASKED)


@SCHEMA.parametrize()
@_BOUNDED
def test_whatever_is_sent_without_a_token_the_answer_is_401(case: Case) -> None:
    before = _OFFICE.ledger.position()
    assert case.call(base_url="http://127.0.0.1").status_code in (401, 404, 405)
    assert _OFFICE.ledger.position() == before


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer \x7f", "bearer " + "x" * 5000])
def test_a_token_that_is_none_is_401(token: str) -> None:
    headers = {"authorization": token}
    assert _OFFICE.client.get("/api/v1/rollouts", headers=headers).status_code == 401
