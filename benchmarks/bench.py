"""Measure what docs/benchmarks.md states; print tables and write them to bench.json.

Each number is a ratio against a baseline in the same run, because machines differ and are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import asking
import catalogs
import convolutions
import downloads
import duplicates
import embedding
import evaluation
import fusion
import latent
import lookup
import memory
import no_match
import planning
import publishing
import recall
import reconstruction
import refining
import region
import runtimes
import serving
import small_vectors
import startup
import words

Rows = list[dict[str, object]]


def main() -> None:
    """Run the sections that are named, or all."""
    sections: dict[str, Callable[[Path | None], Rows]] = {
        "embedding": embedding.measure,
        "runtimes": runtimes.measure,
        "convolutions": convolutions.measure,
        "memory": memory.measure,
        "startup": startup.measure,
        "reconstruction": reconstruction.measure,
        "latent": latent.measure,
        "catalogs": catalogs.measure,
        "downloads": downloads.measure,
        "evaluation": evaluation.measure,
        "lookup": lookup.measure,
        "recall": recall.measure,
        "asking": asking.measure,
        "no_match": no_match.measure,
        "serving": serving.measure,
        "region": region.measure,
        "small_vectors": small_vectors.measure,
        "publishing": publishing.measure,
        "words": words.measure,
        "duplicates": duplicates.measure,
        "fusion": fusion.measure,
        "refining": refining.measure,
        "planning": planning.measure,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(sections)}; default: all")
    parser.add_argument("--data", type=Path, help="folder of the reference data")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(sections)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(sections)}")
    results: dict[str, object] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for name in arguments.sections or sections:
        print(f"\n{name}", flush=True)
        rows = sections[name](arguments.data)
        results[name] = rows
        for row in rows:
            print("  " + ", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwrote {arguments.out}")


if __name__ == "__main__":
    main()
