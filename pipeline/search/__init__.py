"""Stage 8: a query → the nearest items."""
