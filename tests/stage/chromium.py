"""The browser: a Chromium of this machine, without a window, that asks nobody but the stack."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_COLOURS = 128
# Read before a test hides them.
_GIVEN = os.environ.get("CHANDLER_CHROMIUM")
_PICTURES = os.environ.get("CHANDLER_SCREENSHOTS")


def find_chromium() -> str:
    """Return the program that CHANDLER_CHROMIUM names, or one on the PATH; without one the test is skipped."""
    path = _GIVEN or next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium: install the package chromium, or let CHANDLER_CHROMIUM name the program")
    return path


@contextmanager
def opened_chromium(path: str) -> Iterator[Browser]:
    """Yield a browser without a window."""
    # Its sandbox does not let root in.
    args = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=args)
        yield browser
        browser.close()


def take_picture(page: Page, name: str) -> None:
    """Write what is seen as `<name>.png` into the folder that CHANDLER_SCREENSHOTS names, if it names one."""
    if _PICTURES is None:
        return
    page.wait_for_load_state("networkidle")
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide")))
    path = Path(_PICTURES) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    # In few colours it is a third as large.
    picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
