"""Settings of the text half of a two-tower model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from pipeline.config.base import Settings, Text

MAX_CONTEXT = 4096  # tokens


class TextTowerSettings(Settings):
    """The text encoder of a model that puts words near photos: CLIP, SigLIP, one of your own.

    Needs `pip install 'imgsearch[text]'`. It may change without any photo being embedded again.
    """

    file: Text = Field(description="its ONNX file, exported by itself")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="checked if given")
    tokenizer: Text = Field(description="the file tokenizer.json that belongs to it")
    context_length: int = Field(77, ge=2, le=MAX_CONTEXT)
    """tokens it takes; longer texts are cut, shorter ones filled up (CLIP: 77; SigLIP: 64)"""
    pad_token: Text | None = None
    """what they are filled up with; null: as the tokenizer's file says, else its token 0"""
    template: Text = Field("{}", description="what words are put into, such as a photo of {}")
    output: Text | None = Field(None, description="its name; null: the file's only one")
    pooling: Literal["none", "cls", "last", "avg"] = "none"
    """how tokens become a vector. cls: the first one | last: that of the end | avg: of all words"""

    @field_validator("template")
    @classmethod
    def _place(cls, template: str) -> str:
        if "{}" not in template:
            raise ValueError("{} must say where the words go")
        return template
