"""Binance's site of bulk archives as a protocol: files under `/data`, as data.binance.vision has them."""

from __future__ import annotations

from etl.replay.book import Book
from etl.replay.bulk import checksum, find_file
from etl.replay.limits import NoLimits
from etl.replay.wire import TEXT, Answer, Asked, Dialect, RefusedError, Route, Trouble

_XML = "application/xml"
_ZIP = "application/zip"


def bulk(book: Book, asked: Asked) -> Answer:
    """Answer with a file.

    Raises:
        RefusedError: There is none of that name, or not yet.
    """
    path = asked.path["path"]
    body = find_file(book.market, path, asked.now_ms)
    if body is None:
        raise RefusedError(_error("NoSuchKey", "The specified key does not exist."), status=404, content_type=_XML)
    if path.endswith(".CHECKSUM"):
        return Answer(head=checksum(body), content_type=TEXT, file=body)
    return Answer(head=body, content_type=_ZIP, file=body)


def words(trouble: Trouble, now_ms: int) -> bytes:
    """Return what the site says of a trouble."""
    code = {Trouble.INTERNAL: "InternalError", Trouble.MAINTENANCE: "ServiceUnavailable"}.get(trouble, "SlowDown")
    return _error(code, "Please reduce your request rate." if code == "SlowDown" else "Please try again.")


def _error(code: str, message: str) -> bytes:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return text.encode()


DATA_SITE = Dialect(
    name="data_site",
    routes=(Route("bulk", "/data/{path:.*}", bulk, is_long=True),),
    limits=lambda is_on: NoLimits(),
    words=words,
)
