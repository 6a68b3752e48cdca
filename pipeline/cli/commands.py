"""All commands, in the order of `--help`."""

from pipeline.cli import (
    build,
    evaluate,
    findings,
    maintenance,
    plan,
    publications,
    query,
    serve,
    settings,
    watch,
)
from pipeline.cli.app import app

__all__ = [
    "app",
    "build",
    "evaluate",
    "findings",
    "maintenance",
    "plan",
    "publications",
    "query",
    "serve",
    "settings",
    "watch",
]
