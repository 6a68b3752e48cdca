"""Convolutional autoencoders: the networks, and how one is trained on a catalog."""
