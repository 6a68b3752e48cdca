"""What an audit found, and within which limits: the shapes of its results."""

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

    Tells a product's colors from each other, which the hash cannot see, and lets 95% of the copies
    pass that are 10% darker or brighter. Within both limits are no different photos in F, and 95
    clusters in S: 91 of one product or of its shades, 4 of ties laid out alike.
    """
    plain: float = 0.97
    """Share of a photo within 12 levels of one color from which it counts as a plain picture.

    So are 1 photo of F and 22 of S, small jewels on white but for one blank. Of placeholders drawn
    as a line or two of text on a plain ground 70% are; larger lettering shows as a shared photo.
    """
    sharpness: float = 0.3
    """Below it a photo counts as blurred (see `measures.sharpness`).

    No photo of F and of S is. Blurred by 0.5% (F) or 1.5% (S) of the longer side, 100% and 98% are,
    and everything that was enlarged from a quarter of its size.
    """
    side: int = 100
    """Pixels of the shorter side below which a photo is very small: half of what networks see."""
    categories: int = 3
    """Categories on whose items one picture stands before it is taken for a placeholder.

    Of 12,000 photos of S in 130 narrow categories, 4 stand on items of two, none a placeholder, and
    none of three.
    """
    items: int = 4
    """Available items below which a category is small: each of 4 has 3 neighbors of its kind."""
    examples: int = 24
    """Groups of a finding, or photos of a list, to tell one by one."""
    members: int = 6
    """Items or photos of a group to tell one by one."""


@dataclass(frozen=True)
class Example(ItemSummary):
    """An item that a finding is about, with what was measured of its photo."""

    measure: float | None = None


@dataclass(frozen=True)
class Group:
    """What belongs together within a finding; `examples` are the first of its `count`."""

    label: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Finding:
    """One kind of thing to look at: how many there are, and the first of them."""

    title: str
    meaning: str
    """What is counted, in a sentence."""
    unit: str
    """What is counted, in a word: item, photo, picture or category."""
    member: str
    """What the groups' counts are numbers of: item or photo."""
    count: int
    groups: tuple[Group, ...]
    group_count: int
    """All groups there are; `groups` are the first of them."""
    measure: str = ""
    """What the examples' measure is."""


@dataclass(frozen=True)
class Audit:
    """Everything that is worth a look in a catalog of `items` items and `photos` photos."""

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
        """Every finding by its name, in the order in which to tell them."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: one for name, one in named.items() if isinstance(one, Finding)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "catalog": self.catalog,
            "items": self.items,
            "photos": self.photos,
            "limits": asdict(self.limits),
            "findings": {name: asdict(finding) for name, finding in self.findings.items()},
        }
