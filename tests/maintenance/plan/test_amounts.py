from __future__ import annotations

import pytest

from pipeline.errors import QueryError
from pipeline.maintenance.plan.amounts import parse_count, parse_rate, parse_seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10m", 10_000_000),
        ("300k", 300_000),
        (" 1.5 Million ", 1_500_000),
        ("1,000,000", 1_000_000),
        ("1_000", 1000),
        ("1e6", 1_000_000),
        ("2bn", 2_000_000_000),
        ("7", 7),
        (".5k", 500),
    ],
)
def test_counts_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_count(text, "--items") == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("100ms", 0.1), ("0.5s", 0.5), ("250", 0.25), ("2 s", 2.0), ("800µs", 0.0008), ("1e3", 1.0)],
)
def test_times_are_milliseconds_unless_they_say_otherwise(text: str, seconds: float) -> None:
    assert parse_seconds(text, "--p95") == pytest.approx(seconds)


def test_rates_may_be_below_one() -> None:
    assert parse_rate("0.5", "--qps") == 0.5
    assert parse_rate("2k", "--qps") == 2000


@pytest.mark.parametrize(
    "text", ["", "k", "ten", "-5", "0", "1e99", "1 2", "nan", "inf", "5x", "9" * 400, "1..5", "٣"]
)
def test_what_is_no_number_is_named_in_one_line(text: str) -> None:
    for parse, option in (
        (parse_count, "--items"),
        (parse_rate, "--qps"),
        (parse_seconds, "--p95"),
    ):
        with pytest.raises(QueryError, match=f"^{option}: ") as refused:
            parse(text, option)
        assert "\n" not in str(refused.value)
