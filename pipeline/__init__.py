"""Image search for product catalogs."""
