"""Whatever the description allows, or forbids, is answered as it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from pipeline.service.openapi import describe
from tests.engines import Fair
from tests.service.conftest import Client, running, with_settings

CASES, ALL_CASES = 2, 170  # of each operation and mode; there are 6 and 2
# Whether a condition, a column, an engine or a photo is one, no schema can say.
EXCLUDED = [positive_data_acceptance]


@pytest.fixture
def offline(fair: Fair) -> Iterator[Client]:
    """A service that fetches nothing: the cases hold URLs of any kind."""
    with running(with_settings(fair.config, fetch_urls=False)) as client:
        yield client


@pytest.mark.soak
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_described(offline: Client, mode: GenerationMode, soak: bool) -> None:
    load_all_checks()
    schema = schemathesis.openapi.from_dict(describe())
    operations = [found.ok() for found in schema.get_all_operations()]
    # Of an operation that takes nothing, nothing can be wrong.
    operations = [one for one in operations if one.body or any(one.iter_parameters())]
    assert len(operations) == 6
    for operation in operations if soak else operations[1:3]:
        _check(operation, mode, offline, ALL_CASES if soak else CASES)


def _check(operation: APIOperation, mode: GenerationMode, client: Client, cases: int) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case) -> None:
        address = f"http://127.0.0.1:{client.port}"
        case.call_and_validate(base_url=address, excluded_checks=EXCLUDED)

    check()
