"""Faults of an answer, by name.

A mishap takes the answer about to be sent and returns another one. A new one is a function and a line in one of the
tables at the end, which say what kind of answer it can befall; those of rows stand in `row_mishaps`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType

from etl.replay.bulk import checksum, with_lines
from etl.replay.page import Mishap, Page, table
from etl.replay.row_mishaps import OF_CANDLES, OF_ROWS
from etl.replay.wire import HTML, JSON, TEXT, Answer, Trouble

_DEPTH = 100_000
_BLANKS_MB = 256
_GATEWAY = b"<html><head><title>%b</title></head><body><center><h1>%b</h1></center></body></html>"


def http_429(page: Page) -> Page:
    """Too many requests, with Retry-After."""
    return _refuse(page, 429, Trouble.RATE_LIMIT, retry_after_s=1)


def http_429_bare(page: Page) -> Page:
    """Too many requests, and no word of when to come back."""
    return _refuse(page, 429, Trouble.RATE_LIMIT)


def http_418(page: Page) -> Page:
    """A ban, with Retry-After."""
    return _refuse(page, 418, Trouble.BAN, retry_after_s=2)


def http_500(page: Page) -> Page:
    """An error of the exchange's own."""
    return _refuse(page, 500, Trouble.INTERNAL)


def http_502(page: Page) -> Page:
    """A gateway that cannot reach the exchange: a web page."""
    return _gateway(page, 502, b"502 Bad Gateway")


def http_503(page: Page) -> Page:
    """An exchange that has too much to do."""
    return _refuse(page, 503, Trouble.OVERLOADED)


def http_504(page: Page) -> Page:
    """A gateway that waited for the exchange in vain: a web page."""
    return _gateway(page, 504, b"504 Gateway Time-out")


def maintenance(page: Page) -> Page:
    """Maintenance, as the exchange says it: not always with an HTTP status of its own."""
    return _refuse(page, page.maintenance_status, Trouble.MAINTENANCE)


def http_404(page: Page) -> Page:
    """A gateway that has lost its way to the exchange: a web page."""
    return _gateway(page, 404, b"404 Not Found")


def http_451(page: Page) -> Page:
    """A gateway that lets nobody of our country in: a web page. No asking again helps."""
    return _gateway(page, 451, b"451 Unavailable For Legal Reasons")


def http_403(page: Page) -> Page:
    """A guard before the exchange that takes the caller for a robot: a web page."""
    return _gateway(page, 403, b"403 Forbidden")


def html(page: Page) -> Page:
    """A web page with status 200, as proxies and captive portals answer."""
    text = b"<!DOCTYPE html><html><body><h1>Just a moment...</h1></body>"
    return replace(page, status=200, content_type=HTML, body=text)


def error_200(page: Page) -> Page:
    """An error of the exchange's own, in its words, with status 200."""
    return _refuse(page, 200, Trouble.INTERNAL)


def empty_200(page: Page) -> Page:
    """Nothing at all, with status 200."""
    return replace(page, status=200, body=b"")


def empty_object(page: Page) -> Page:
    """An object without a member, with status 200."""
    return replace(page, status=200, content_type=JSON, body=b"{}")


def empty_list(page: Page) -> Page:
    """A list without a member, with status 200."""
    return replace(page, status=200, content_type=JSON, body=b"[]")


def null_body(page: Page) -> Page:
    """Null, with status 200."""
    return replace(page, status=200, content_type=JSON, body=b"null")


def nested(page: Page) -> Page:
    """Lists within lists, deeper than parsers go, with status 200."""
    return replace(page, status=200, content_type=JSON, body=b"[" * _DEPTH + b"]" * _DEPTH)


def wrong_encoding(page: Page) -> Page:
    """A body that is not packed as its header says."""
    return replace(page, headers={**page.headers, "Content-Encoding": "gzip"})


def bomb(page: Page) -> Page:
    """A small body that unpacks to hundreds of megabytes of blanks, with status 200."""
    headers = {**page.headers, "Content-Encoding": "gzip"}
    return replace(page, status=200, content_type=JSON, headers=headers, body=_packed_blanks())


def redirect(page: Page) -> Page:
    """A way to another host, with status 302."""
    headers = {**page.headers, "Location": "http://127.0.0.1:9/latest/meta-data/"}
    return replace(page, status=302, content_type=HTML, headers=headers, body=b"")


def hang_up(page: Page) -> Page:
    """A connection that closes without an answer."""
    return replace(page, is_dropped=True)


def truncated(page: Page) -> Page:
    """A body that ends in the middle, with status 200."""
    body = page.encode()
    return replace(page, body=body[: max(1, len(body) // 2)])


def reset(page: Page) -> Page:
    """A connection that closes in the middle of the body."""
    return replace(page, is_cut=True)


def timeout(page: Page) -> Page:
    """An answer that is a long time coming."""
    return replace(page, wait_s=page.hold_s)


def slow(page: Page) -> Page:
    """A body that comes in dribbles."""
    return replace(page, dribble_s=page.slow_s)


def wrong_checksum(page: Page) -> Page:
    """A checksum that differs in its first digit from what the file has."""
    body = page.encode()
    return replace(page, body=(b"1" if body[:1] == b"0" else b"0") + body[1:])


def empty_listing(page: Page) -> Page:
    """A list of symbols in its usual form without a symbol."""
    return replace(page, body=page.answer.blank)


def file_differs(page: Page) -> Page:
    """A file whose every fiftieth candle closed at its low; with `:*` its checksum agrees."""

    def change(lines: list[str]) -> list[str]:
        rows = [line.split(",") for line in lines]
        for row in rows[::50]:
            row[4] = row[3]
        return [",".join(row) for row in rows]

    return _with_file(page, change)


def file_cut(page: Page) -> Page:
    """A file of which the first third is there, whole in itself; with `:*` its checksum agrees."""
    return _with_file(page, lambda lines: lines[: len(lines) // 3])


OF_ANSWERS = table(
    http_429,
    http_429_bare,
    http_418,
    http_500,
    http_502,
    http_503,
    http_504,
    maintenance,
    http_403,
    http_404,
    http_451,
    html,
    error_200,
    empty_200,
    empty_object,
    empty_list,
    null_body,
    nested,
    wrong_encoding,
    bomb,
    redirect,
    truncated,
    reset,
    hang_up,
    timeout,
    slow,
)
OF_LISTS = table(empty_listing)
OF_FILES = table(file_differs, file_cut)
OF_CHECKSUMS = table(wrong_checksum)

MISHAPS: Mapping[str, Mishap] = MappingProxyType(
    {**OF_ANSWERS, **OF_ROWS, **OF_CANDLES, **OF_LISTS, **OF_FILES, **OF_CHECKSUMS}
)


def fitting(answer: Answer) -> Mapping[str, Mishap]:
    """Return the mishaps that can befall an answer of this kind."""
    if answer.layout is None:
        of_lists = {} if answer.blank is None else OF_LISTS
        of_files = {} if answer.file is None else OF_FILES
        return {**OF_ANSWERS, **of_lists, **of_files, **(OF_CHECKSUMS if answer.content_type == TEXT else {})}
    return {**OF_ANSWERS, **OF_ROWS, **({} if answer.layout.low is None else OF_CANDLES)}


@cache
def _packed_blanks() -> bytes:
    """Return gzip of blanks, made of one member many times over."""
    return gzip.compress(b" " * (1 << 20)) * _BLANKS_MB


def _refuse(page: Page, status: int, trouble: Trouble, retry_after_s: int | None = None) -> Page:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return replace(page, status=status, headers=headers, body=page.words(trouble, page.now_ms), content_type=JSON)


def _gateway(page: Page, status: int, title: bytes) -> Page:
    return replace(page, status=status, content_type=HTML, body=_GATEWAY % (title, title))


def _with_file(page: Page, change: Callable[[list[str]], list[str]]) -> Page:
    if page.answer.file is None:
        return page
    file = with_lines(page.answer.file, change)
    return replace(page, body=checksum(file) if page.content_type == TEXT else file)
