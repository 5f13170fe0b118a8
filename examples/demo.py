"""The demo: the examples pass against their committed baselines, then a seeded fault is caught and shown.

Exits 0 only if both runs went as they should. Writes into .modelviz-demo only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pytest_modelviz.pictures.layout import below

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".modelviz-demo"  # not the folder of runs, which may hold nothing else


def run(title: str, *options: str) -> tuple[int, dict]:
    """Run the examples in a process of their own; return the exit status and results.json."""
    print(f"\n=== {title}\n", flush=True)
    results = RESULTS / "results.json"
    results.unlink(missing_ok=True)
    arguments = ["--modelviz", f"--modelviz-results-dir={RESULTS}", "-p", "no:cacheprovider", "examples"]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    path = os.pathsep.join([str(ROOT / "examples"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    return status, json.loads(results.read_text("utf-8")) if results.exists() else {}


def pictures_of(results: dict) -> list[Path]:
    """Read the drift's pictures back from the event files, as TensorBoard does, into PNG files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(RESULTS / "tensorboard" / results["run"]["tensorboard"]))
    events.Reload()
    written = []
    for check in results["checks"]:
        for tag in check["tensorboard_tags"]:
            path = RESULTS / "pictures" / f"{tag.replace('/', '_')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(events.Images(tag)[0].encoded_image_string)
            written.append(path)
    return written


def drift_picture(written: list[Path]) -> Path:
    """What the README shows: the first photograph's input and heatmap, one below the other."""
    chosen = [next(p for p in written if kind in p.name) for kind in ("(input)", "_cam_map_")]
    images = [np.asarray(Image.open(path).convert("RGB")) for path in chosen]
    path = RESULTS / "drift.png"
    Image.fromarray(below(images, gap=12)).save(path, optimize=True)
    return path


def main() -> int:
    status, results = run("1. The examples, against the baselines in baselines/examples")
    totals = results.get("totals", {})
    if status != 0 or not totals.get("match") or totals["match"] != sum(totals.values()):
        print(f"\nThe examples should have matched their baselines (pytest exited {status}, {totals}).")
        return 1
    status, results = run("2. The same, with red and blue exchanged in the preprocessing", "-p", "seeded_fault")
    drifted = [check for check in results.get("checks", []) if check["status"] == "drift"]
    if status != 1 or not drifted or any(check["cause"] != "input" for check in drifted):
        print(f"\nThe fault should have been caught and traced to the input (pytest exited {status}).")
        return 1
    written = pictures_of(results)
    if not written:
        print("\nThe drift should have left pictures.")
        return 1
    print(f"\n=== The fault was caught: {len(drifted)} checks drifted, and each says that the input is different.\n")
    print("Pictures, baseline | actual | difference:")
    for path in [drift_picture(written), *written]:
        print(f"  {path.relative_to(ROOT)}")
    print(f"In TensorBoard:\n  {Path(sys.executable).parent / 'tensorboard'} --logdir {RESULTS / 'tensorboard'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
