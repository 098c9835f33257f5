"""Pages under watch: what they ask for, and what they complain of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect

_WIDE, _PHONE = (1280, 800), (390, 844)
_PATIENCE_MS = 180_000  # for what a click brings; the machine may be busy


@dataclass(slots=True)
class Watched:
    """Requests and complaints of pages.

    Attributes:
        asked: The addresses that they asked for.
        complaints: Errors on the console that come from our page, and exceptions that nobody caught.
    """

    asked: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def note_message(self, message: ConsoleMessage) -> None:
        """Note an error that comes from our page: Airflow's own has some before anybody is logged in."""
        if message.type == "error" and "/chandler/" in message.location["url"]:
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def note_error(self, error: Error) -> None:
        """Note an exception that nobody caught."""
        if "/chandler/" in (error.stack or ""):
            self.complaints.append(str(error.stack))


@contextmanager
def watched_page(browser: Browser, watched: Watched, *, is_phone: bool = False) -> Iterator[Page]:
    """Yield a page of a fresh profile; of a phone it is narrow, and is touched."""
    width, height = _PHONE if is_phone else _WIDE
    context = browser.new_context(
        viewport={"width": width, "height": height},
        is_mobile=is_phone,
        has_touch=is_phone,
        timezone_id="UTC",
        locale="en-GB",
        reduced_motion="reduce",
    )
    context.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    context.on("request", lambda request: watched.asked.add(request.url))
    context.on("console", lambda message: watched.note_message(message))
    context.on("weberror", lambda error: watched.note_error(error.error))
    yield context.new_page()
    context.close()
