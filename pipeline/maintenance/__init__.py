"""What looks after a catalog: what there is, what is wrong, what can go."""
