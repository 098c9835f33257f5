"""TensorFlow, imported where something is learned and nowhere else: it takes seconds, and half a gigabyte."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def start_tensorflow() -> None:
    """Import TensorFlow, to use the cores that there are and to say nothing while it starts.

    What it has to say is of the graphics cards that are not there, and no setting of its own keeps it from saying so.
    """
    if "tensorflow" in sys.modules:
        return
    cores = str(len(os.sched_getaffinity(0)))
    for name, value in {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": cores,
        "TF_NUM_INTEROP_THREADS": cores,
    }.items():
        os.environ.setdefault(name, value)
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            import tensorflow  # noqa: F401  # to have it done
        finally:
            os.dup2(kept, 2)
            os.close(kept)
