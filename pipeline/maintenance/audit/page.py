"""The findings of an audit as an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.images import ImageLimits
from pipeline.maintenance.audit import Audit, Example, Finding, Group
from pipeline.report.render import render


class PhotoCard(NamedTuple):
    """A photo's file, None if there is none, and the items shown with it."""

    photo: str | None
    examples: Sequence[Example]


def audit_page(audit: Audit, limits: ImageLimits) -> str:
    """Return the findings of an audit, with thumbnails, as one HTML document."""

    def cards(finding: Finding, group: Group) -> list[PhotoCard]:
        """A card for each example; items that show one photo share a card."""
        if finding is audit.shared_photos:
            return [PhotoCard(group.examples[0].photo, group.examples)]
        return [PhotoCard(example.photo, (example,)) for example in group.examples]

    return render("audit.html.jinja", limits, audit=audit, findings=audit.findings, cards=cards)
