"""Near-duplicate photos: edited copies of one picture, found as a build adds photos."""
