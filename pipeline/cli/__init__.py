"""The command line: one thin function per verb; the only place that prints or exits.

Nothing heavy is imported here: `--help` loads no numpy, a query by item id no TensorFlow.
"""

# In the order of the commands in `--help`.
from pipeline.cli import build, evaluate, maintenance, query, settings
from pipeline.cli.app import app, main

__all__ = ["app", "build", "evaluate", "main", "maintenance", "query", "settings"]
