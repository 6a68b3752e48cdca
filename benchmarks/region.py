"""How often a product is found that is a part of a cluttered picture.

Each picture is a collage of turned pieces of 60 other photos of the catalog, into which one photo
is pasted at a quarter to a half of the area. It is searched with as a whole, by the region where
the photo is, and by `auto`. Needs the folder of the reference data.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from catalogs import MOBILENET
from PIL import Image

from pipeline.config import load_config
from pipeline.search.engine_searcher import EngineSearcher, open_engine
from pipeline.search.query import RegionOf
from pipeline.search.result import EngineResult
from pipeline.stages import build

PICTURES, PIECES = 200, 60
WIDTH, HEIGHT = 640, 480
SETTINGS = (
    """
root: ROOT
source: {type: folder, path: PHOTOS, metadata: null}
engines:
"""
    + MOBILENET
)


class Scene(NamedTuple):
    """A picture that shows a photo of the catalog, and where."""

    key: str
    clean: Image.Image
    picture: Image.Image
    region: tuple[float, float, float, float]


def measure(data: Path | None) -> list[dict[str, object]]:
    """Paste, search, and count."""
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return [{"skipped": "needs the reference data: make bench DATA=its folder"}]
    photos = data / "flipkart-700" / "images"
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "settings.yaml")
        text = SETTINGS.replace("ROOT", f"{folder}/out").replace("PHOTOS", str(photos))
        settings.write_text(text.replace("WEIGHTS", str(weights)))
        config = load_config(settings)
        build(config)
        scenes = _scenes(sorted(photos.glob("*.jpg")))
        with open_engine(config, "mobilenet") as searcher:
            pictures, clean = [s.picture for s in scenes], [s.clean for s in scenes]
            return [
                {"searched with": name, **_found(searcher, scenes, photos_, regions)}
                for name, photos_, regions in (
                    ("the clean photo", clean, [None] * PICTURES),
                    ("the clean photo, auto", clean, ["auto"] * PICTURES),
                    ("the whole picture", pictures, [None] * PICTURES),
                    ("the region", pictures, [scene.region for scene in scenes]),
                    ("the picture, auto", pictures, ["auto"] * PICTURES),
                )
            ]


def _found(
    searcher: EngineSearcher,
    scenes: Sequence[Scene],
    photos: Sequence[Image.Image],
    regions: Sequence[RegionOf | None],
) -> dict[str, object]:
    """The share whose nearest item is the product, or has exactly its photo."""
    first, proposed = 0, 0
    for scene, photo, region in zip(scenes, photos, regions, strict=True):
        result: EngineResult = searcher.search(photo, 1, region=region)
        first += result.hits[0].item.key == scene.key or result.hits[0].distance == 0
        proposed += result.region is not None
    return {"hit@1": first / len(scenes), "regions": proposed}


def _scenes(photos: Sequence[Path]) -> list[Scene]:
    chance = random.Random(5)
    return [_scene(chance, chance.choice(photos), photos) for _ in range(PICTURES)]


def _scene(chance: random.Random, path: Path, photos: Sequence[Path]) -> Scene:
    clean = Image.open(path).convert("RGB")
    picture = _clutter(chance, [photo for photo in photos if photo != path])
    area = chance.uniform(0.25, 0.5) * WIDTH * HEIGHT
    scale = min(
        (area / (clean.width * clean.height)) ** 0.5, WIDTH / clean.width, HEIGHT / clean.height
    )
    width, height = int(clean.width * scale), int(clean.height * scale)
    left, top = chance.randint(0, WIDTH - width), chance.randint(0, HEIGHT - height)
    picture.paste(clean.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    region = (left / WIDTH, top / HEIGHT, width / WIDTH, height / HEIGHT)
    return Scene(path.name, clean, picture, region)


def _clutter(chance: random.Random, photos: Sequence[Path]) -> Image.Image:
    color = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
    picture = Image.new("RGB", (WIDTH, HEIGHT), color)
    for _ in range(PIECES):
        side, angle = chance.randint(60, 150), chance.uniform(0, 360)
        piece = Image.open(chance.choice(photos)).convert("RGBA").resize((side, side))
        piece = piece.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        place = chance.randint(-side // 2, WIDTH), chance.randint(-side // 2, HEIGHT)
        picture.paste(piece, place, piece)
    return picture
