"""The HTTP service: beside the command line; it reads what is published, and writes nothing."""
