"""The results of an audit, and the limits by which they are findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipeline.catalog.stats import ItemSummary


@dataclass(frozen=True)
class AuditLimits:
    """What counts as a finding; the defaults come from the measurements that stand with them.

    Measured on two sets of real photos: F, 700 of Flipkart with a longer side of 320 pixels, and
    S, 18,322 of a fashion shop with 60×80 pixels.
    """

    distance: int = 12
    """Bits, of 256, by which the perceptual hashes of near-identical photos differ at most.

    A copy that was encoded again (JPEG, quality 85 or 50), scaled by 0.5 to 1.5, squeezed into a
    square or made 5% darker or brighter is within it in 96% or more of the photos of F and of S;
    one that was made smaller, brighter and encoded again in 91% and 87%, one that is 10% brighter
    in 85%. At 16 bits, ties of other patterns begin to pass for each other in S.
    """
    color: int = 8
    """Levels, of 256, by which the Cb and Cr of 6×6 cells of near-identical photos differ at most.

    Their Y may differ four times as much. Tells a product's colors from each other, black, gray and
    silver too, which the hash cannot see, and lets 95% of the copies pass that are 10% darker or
    brighter. Within both limits are no different photos in F, and 95 clusters in S: 91 of one
    product or of its shades, 4 of ties laid out alike.
    """
    plain: float = 0.97
    """Share of a photo within 12 levels of one color from which it counts as a plain picture.

    1 photo of F and 22 of S do: small jewels on white, and one blank. 70% of the placeholders drawn
    as a line or two of text on a plain ground do; larger lettering shows as a shared photo.
    """
    sharpness: float = 0.3
    """Below it a photo counts as blurred (see `measures.sharpness`).

    No photo of F and of S does. Blurred by 0.5% (F) or 1.5% (S) of the longer side, 100% and 98%
    do, and all that were enlarged from a quarter of their size.
    """
    side: int = 100
    """Pixels of the shorter side below which a photo is very small: half of what networks see."""
    categories: int = 3
    """Categories whose items must show a picture before it counts as a placeholder.

    Of 12,000 photos of S in 130 narrow categories, items of two show 4, none of them a placeholder,
    and items of three none.
    """
    items: int = 4
    """Available items below which a category is small: each of 4 has 3 neighbors of its kind."""
    examples: int = 24  # groups of a finding, or photos of a list, to show
    members: int | None = None  # items or photos of a group to show; None: all of them


@dataclass(frozen=True)
class Example(ItemSummary):
    """An item that a finding is about, with what was measured of its photo."""

    measure: float | None = None


@dataclass(frozen=True)
class Group:
    """Items or photos that belong together within a finding; `examples` are the first ones."""

    label: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Finding:
    """One kind of fault that a catalog may have: how often it does, and the first examples."""

    title: str
    meaning: str  # what is counted, in a sentence
    unit: str  # what is counted, in a word: item, photo, picture or category
    member: str  # what the groups count: item or photo
    count: int
    groups: tuple[Group, ...]
    group_count: int  # how many groups there are; `groups` are the first of them
    measure: str = ""  # what was measured of the examples


@dataclass(frozen=True)
class Audit:
    """All findings in a catalog of `items` items and `photos` distinct photos."""

    catalog: str
    items: int
    photos: int
    limits: AuditLimits
    without_photo: Finding
    shared_photos: Finding
    near_identical: Finding
    plain: Finding
    across_categories: Finding
    small: Finding
    blurred: Finding
    unreadable: Finding
    small_categories: Finding
    without_category: Finding

    @property
    def findings(self) -> Mapping[str, Finding]:
        """Every finding by its name, in the order in which to show them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Finding)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        content = asdict(self)
        findings = {name: content.pop(name) for name in self.findings}
        return {**content, "findings": findings}
