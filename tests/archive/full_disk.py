"""Write to a full disk in a mount namespace of its own: `unshare -rm python -m tests.archive.full_disk FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from etl.archive import Archive
from etl.series import TimeRange
from tests.conftest import BTC
from tests.markets import DAYS, candles_over


def main(folder: Path) -> None:
    """Fill a disk of a quarter of a megabyte, write, make room, convert; print what was seen."""
    first = folder / "first"
    first.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(first)], check=True)
    archive = Archive(str(first), folder / "second")
    day = TimeRange(DAYS.start, TimeRange.from_ms(DAYS.start_ms, DAYS.start_ms + 600 * 60_000).end)
    archive.write(BTC, day, candles_over(day))
    with (first / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"0" * 512):
                pass
        except OSError as error:
            full = error.strerror
    written = archive.write(BTC, DAYS, candles_over(DAYS))
    seen = {
        "error": full,
        "fallbacks": written.fallbacks,
        "is_read": archive.read(BTC, DAYS).equals(candles_over(DAYS)),
        "cut_off": [path.name for path in first.rglob("*.tmp")],
    }
    (first / "ballast").unlink()
    for fallback in archive.fallbacks():
        archive.convert(fallback)
    seen["is_read_after"] = archive.read(BTC, DAYS).equals(candles_over(DAYS))
    seen["left"] = [fallback.path for fallback in archive.fallbacks()]
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
