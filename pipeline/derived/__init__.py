"""Engines that are made of another engine's vectors, and never look at a photo."""
