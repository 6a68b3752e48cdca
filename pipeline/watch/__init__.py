"""Keep a catalog published while its source changes: look, let it settle, build, say so."""
