"""Image search for product catalogues."""
