"""Stage 7: a query → the nearest items."""
