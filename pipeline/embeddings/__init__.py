"""Stage 5: photos + model → vectors, shard by shard."""
