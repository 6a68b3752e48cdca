"""The outcome of a catalog's downloads, as a page of Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.download.download import DownloadReport


def download_page(report: DownloadReport) -> str:
    """Format the outcome of a catalog's downloads as a page of Markdown."""
    total = sum(sum(reasons.values()) for reasons in report.counts.values())
    lines = [
        "# Downloads",
        "",
        f"{total:,} images at URLs; the last run tried {report.tried:,} URLs and received"
        f" {report.bytes / 1e6:,.1f} MB.",
        *_table("state | reason | images", report.counts),
        *_table("host | reason | images", report.trouble),
    ]
    return "\n".join(lines) + "\n"


def _table(heading: str, counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A Markdown table of three columns, the last one numbers; nothing if it would be empty."""
    rows = [
        f"| {_cell(name)} | {_cell(reason)} | {number:,} |"
        for name, reasons in counts.items()
        for reason, number in reasons.items()
    ]
    return ["", f"| {heading} |", "|---|---|---:|", *rows] if rows else []


def _cell(text: str) -> str:
    """Escape text, so that it stays in its cell and is no markup: host names may be anything."""
    return re.sub(r"([\\`*_{}\[\]<>()#|~!])", r"\\\1", " ".join(text.split()))
