"""The command line: one thin function per verb; the only place that prints or exits.

Nothing heavy is imported here: `--help` loads no numpy, a query by item id no TensorFlow. The
commands themselves are imported by `main`, so that Ctrl-C during their import ends in one line too.
"""

from pipeline.cli.boundary import main

__all__ = ["main"]
