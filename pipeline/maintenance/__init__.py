"""Looking after a catalog: what it holds (info), what is wrong with it (verify, audit), clean."""
