"""Stage 2, the ledger: every item of a source, its images, and the named state each ended in."""
