"""Libraries that run a trained network, beside each other."""
