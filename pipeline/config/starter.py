"""A short file to begin with: a source, and the best settings known for somebody's own photos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.config.dump import to_scalar

_STARTER = """\
# {title}, with the best settings known.
#
# This is what differs from the defaults, and why; `imgsearch config` prints every setting with its
# meaning. Relative paths are relative to the folder in which a command runs.

{source}
engines:

  # Trained on these photos. Taught by vgg16, and with vgg16's first layers, its 16 dimensions find
  # much more than those of an autoencoder that learns to rebuild pixels and nothing else.
  autoencoder:
    type: autoencoder
    architecture: stem          # its first layers are those of its teacher, and stay as they are,
    stem_layer: block4_pool     # up to this one
    input_size: 128
    standardize: true           # each dimension has a variance of 1: none of them decides alone
    training:
      distillation: {{teacher: vgg16}}    # keep near what is near by vgg16, edges and foreground
      batch_size: 128           # each photo is told from the others of its batch: 8 are too few
      epochs: 50
      learning_rate: 0.003
      patience: null            # the learning rate falls to 0 by the last epoch: do not stop before
      weight_decay: 0.01        # against learning a few hundred photos by heart
      # Noise goes on what the first layers give: more of it the fewer photos there are (0.3 for
      # 20,000).
      augment: {{shift: 0, zoom: 0, noise: 0, descriptor_noise: 0.5, clean_target: true}}

  # VGG16 as ImageNet taught it: 4,096 dimensions.
  vgg16:
    type: pretrained
    when_unavailable: fail      # random weights find little, and teach little

index:
  type: pruned                  # the same exact answers as flat, several times faster

search:
  fusion: weighted              # `--fuse` is no worse than the better engine: weights are fitted
"""


def starter_config(source: Mapping[str, Any], root: str | None = None) -> str:
    """Write a YAML file for the settings of a source, and for a place to write indexes to.

    starter_config({"type": "folder", "path": "photos"})
    """
    table = source["type"] == "table"
    lines = [f"root: {to_scalar(root)}    # apart from the photos", ""] if root else []
    lines += ["source:", *(f"  {name}: {to_scalar(value)}" for name, value in source.items())]
    return _STARTER.format(
        title="Products of a table, and photos at its URLs" if table else "A folder of photos",
        source="\n".join(lines) + "\n",
    )
