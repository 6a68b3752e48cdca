"""How good engines are on 700 Flipkart photos of 7 categories, beside the baselines.

Needs `flipkart-700/` and MobileNetV2's weights of the reference data. The autoencoder, trained
for 3 epochs only, stands here for a weak engine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from catalogs import FLIPKART

from pipeline.config import load_config
from pipeline.evaluation.evaluate import EvaluationOptions, evaluate
from pipeline.stages import build

VGG16 = "  vgg16: {type: pretrained, weights: random}\n"


def measure(data: Path | None) -> list[dict[str, object]]:
    """Build and evaluate."""
    weights = data / "mobilenet_v2_imagenet_notop.weights.h5" if data else None
    if data is None or weights is None or not weights.is_file():
        return [{"skipped": "needs the reference data: make bench DATA=its folder"}]
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "settings.yaml")
        text = FLIPKART.replace(VGG16, "").replace("PHOTOS", str(data / "flipkart-700"))
        settings.write_text(text.replace("ROOT", folder).replace("WEIGHTS", str(weights)))
        config = load_config(settings)
        build(config)
        found = evaluate(config, EvaluationOptions(label="category", cost=False))
        return [
            {
                "ranked by": system.name,
                **{name: round(estimate.mean, 3) for name, estimate in system.scores.items()},
            }
            for system in found.systems
        ]
