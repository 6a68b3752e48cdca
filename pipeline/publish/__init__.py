"""Stage 7: the ledger's state and the engines' indexes → what answers, all of it at once."""
