"""The walk over a range, against a source of our own that does what bad venues do."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
import tenacity

from etl.errors import SourceError, SourceUnavailableError, StoreError, UnknownSymbolError
from etl.extract import Bounds, Page, PageKey, RawPartition, RawStore, Route
from etl.extract.bulk import BulkFile
from etl.extract.sampling import sample
from etl.series import Series, TimeRange
from etl.timeframe import from_ms
from tests.extract.venue import BTC, LIMIT, NOW_MS, ORIGIN_MS, RANGE, TRAITS, Venue, fetched, rows, walk
from tests.markets import kline

ALL = range(95)
WINDOWS = list(RANGE.windows(LIMIT * 60_000))


@pytest.fixture
def raw(tmp_path: Path) -> RawPartition:
    """An empty partition."""
    return RawStore(tmp_path).partition(BTC, RANGE)


def test_empty_pages_do_not_end_the_walk(raw: RawPartition) -> None:
    """Candles behind hours without any are found, and what was asked for depends on the range alone."""
    venue = Venue(rows([0, 1, 94]), replace(TRAITS, prints_empty=False))
    report = walk(venue, raw, at_once=3)
    assert fetched(raw) == [0, 1, 94]
    assert (report.pages, report.asked, report.rows) == (10, 10, 3)
    assert sorted(venue.asked) == WINDOWS
    assert venue.most_at_once == 3


def test_a_page_that_is_cut_short_is_halved_until_nothing_is_lost(raw: RawPartition) -> None:
    """The rest is asked for if a venue repeats rows and so cannot show a window in one page."""
    repeated = rows([minute for minute in ALL for _ in range(1 + 2 * (20 <= minute < 40))])
    walk(Venue(repeated), raw)
    assert set(fetched(raw)) == set(ALL)


def test_a_page_that_lacks_a_candle_is_asked_for_once_more(raw: RawPartition, caplog: pytest.LogCaptureFixture) -> None:
    """An answer that lacks candles once is not believed; a candle that is really missing costs one more request.

    Nobody is warned of it by the page: the load tells of what is absent.
    """
    venue = Venue(rows([minute for minute in ALL if minute != 55]))
    liar = WINDOWS[2]
    venue.tampers = lambda window, page: page[:3] if window == liar and venue.asked.count(liar) == 1 else page
    report = walk(venue, raw)
    assert set(fetched(raw)) == {minute for minute in ALL if minute != 55}
    assert sorted(venue.asked) == sorted([*WINDOWS, liar, WINDOWS[5]])
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert report.pages == len(WINDOWS) + 2, "both answers are kept: a row that was received is not lost"
    again = Venue(venue.rows)
    walk(again, raw)
    assert not again.asked


def test_a_range_between_the_slots_is_asked_for_on_the_grid(tmp_path: Path) -> None:
    """A range that begins and ends within a minute asks once for the minutes that open in it, and for none twice."""
    half_ms = 30_000
    span = TimeRange.from_ms(ORIGIN_MS + half_ms, ORIGIN_MS + 34 * 60_000 + half_ms)
    venue, raw = Venue(rows(ALL)), RawStore(tmp_path).partition(BTC, span)
    report = walk(venue, raw)
    assert fetched(raw) == list(range(1, 35))
    assert (report.asked, venue.searched) == (4, [])
    between = RawStore(tmp_path).partition(BTC, TimeRange.from_ms(ORIGIN_MS + 1, ORIGIN_MS + half_ms))
    assert walk(venue, between).pages == 0
    assert between.read_list().pages == ()


def test_what_arrived_before_a_failure_is_not_asked_for_again(
    raw: RawPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure in the middle, a rerun asks for the missing pages alone."""
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())
    venue = Venue(rows(ALL))
    venue.fails_from = 4
    with pytest.raises(SourceUnavailableError):
        walk(venue, raw, at_once=1)
    with pytest.raises(StoreError, match="fetch this partition first"):
        raw.read_list()
    again = Venue(rows(ALL))
    report = walk(again, raw)
    assert report.asked == len(again.asked) == 10 - 4
    assert fetched(raw) == list(ALL)


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    """Whichever page comes first, the same pages make up the range, in the same order, halves and all."""
    repeated = rows([minute for minute in ALL if minute != 71 for _ in range(1 + 2 * (20 <= minute < 40))])
    lists = []
    for seed in range(3):
        venue = Venue(repeated)
        draw = random.Random(seed)  # noqa: S311 # a seeded draw
        venue.delay_s = lambda window, draw=draw: draw.uniform(0, 0.01)  # type: ignore[misc]
        raw = RawStore(tmp_path / str(seed)).partition(BTC, RANGE)
        walk(venue, raw)
        lists.append((raw.read_list(), fetched(raw)))
    assert lists[0] == lists[1] == lists[2]


def test_a_page_of_yesterday_is_asked_for_again(raw: RawPartition) -> None:
    """A page that a failed try left long ago may be corrected by now; a fresh one is as good as new."""
    venue = Venue(rows(ALL), replace(TRAITS, prints_empty=False))
    for window, age_ms in zip(WINDOWS[:2], (3_600_000, 25 * 3_600_000), strict=True):
        raw.write_page(Page(BTC, window, NOW_MS - age_ms, "[]"))
    walk(venue, raw, known=Bounds(first_ms=ORIGIN_MS))
    assert WINDOWS[0] not in venue.asked
    assert fetched(raw) == list(range(10, 95))


def test_empty_years_before_the_first_candle_are_not_walked(tmp_path: Path) -> None:
    """A range that begins years too early asks for a few coarse pages and finds the first candle exactly."""
    traits = replace(TRAITS, page_limit=1000)
    early = TimeRange(from_ms(ORIGIN_MS - 3 * 365 * 86_400_000), RANGE.end)
    venue = Venue(rows(range(7, 95)), traits)
    raw = RawStore(tmp_path).partition(BTC, early)
    walk(venue, raw)
    assert raw.read_list().bounds == Bounds(first_ms=ORIGIN_MS + 7 * 60_000)
    assert set(fetched(raw)) == set(range(7, 95))
    assert len(venue.asked) + len(venue.searched) < 20
    before = RawStore(tmp_path).partition(BTC, TimeRange(early.start, from_ms(ORIGIN_MS)))
    again = Venue(rows(range(7, 95)), traits)
    walk(again, before, known=raw.read_list().bounds)
    assert not again.asked + again.searched
    assert before.read_list().pages == ()


def test_a_first_candle_behind_the_beginning_of_a_page_is_found(tmp_path: Path) -> None:
    """A range that begins minutes before the series does is told from one that begins in an outage."""
    traits = replace(TRAITS, page_limit=1000)
    raw = RawStore(tmp_path / "new").partition(BTC, RANGE)
    walk(Venue(rows(range(7, 95)), traits), raw)
    assert raw.read_list().bounds == Bounds(first_ms=ORIGIN_MS + 7 * 60_000)
    raw = RawStore(tmp_path / "silent").partition(BTC, RANGE)
    walk(Venue(rows([-500, *range(7, 95)]), traits), raw)
    assert raw.read_list().bounds == Bounds(first_ms=ORIGIN_MS - 500 * 60_000)
    known = Venue(rows(range(7, 95)), traits)
    walk(known, RawStore(tmp_path / "known").partition(BTC, RANGE), known=Bounds(first_ms=ORIGIN_MS))
    assert not known.searched


class Forgetful(Venue):
    """A venue whose minutes are served from the origin on, and its days since ever."""

    async def fetch_page(self, series: Series, window: TimeRange, route: Route | None = None) -> Page:
        """Refuse minutes of long ago."""
        if series.timeframe == "1m" and window.start_ms < ORIGIN_MS:
            raise SourceError("candlestick too long ago")
        return await super().fetch_page(series, window, route)


def test_a_first_candle_that_is_served_no_more_is_known_to_the_day(tmp_path: Path) -> None:
    """An exchange that refuses minutes of the first day is no failure of a range that begins in a silence."""
    day_ms = 86_400_000
    raw = RawStore(tmp_path).partition(BTC, RANGE)
    walk(Forgetful(rows([-9000, *range(3, 95)]), replace(TRAITS, page_limit=1000)), raw)
    assert raw.read_list().bounds.first_ms == (ORIGIN_MS - 9000 * 60_000) // day_ms * day_ms
    assert set(fetched(raw)) == set(range(3, 95))


def test_the_end_of_a_delisted_series_is_found(tmp_path: Path) -> None:
    """A series that is traded no more ends where its last candle closed; nothing beyond is walked."""
    traits = replace(TRAITS, page_limit=1000)
    late = TimeRange(RANGE.end, from_ms(NOW_MS - NOW_MS % 60_000))
    venue = Venue(rows(range(95)), traits, is_traded=False)
    raw = RawStore(tmp_path).partition(BTC, late)
    walk(venue, raw)
    assert raw.read_list().bounds == Bounds(first_ms=ORIGIN_MS, end_ms=RANGE.end_ms)
    assert fetched(raw) == []


def test_an_end_that_is_known_is_asked_about_and_not_looked_for(tmp_path: Path) -> None:
    """A series that is said to have ended is fetched all the same if it goes on; if not, nothing is searched."""
    known = Bounds(first_ms=ORIGIN_MS, end_ms=ORIGIN_MS + 40 * 60_000)
    goes_on = RawStore(tmp_path / "goes on").partition(BTC, RANGE)
    walk(Venue(rows(ALL)), goes_on, known=known)
    assert fetched(goes_on) == list(ALL)
    later = TimeRange(RANGE.end, from_ms(RANGE.end_ms + 86_400_000))
    for is_traded in (True, False):
        venue = Venue(rows(range(40)), is_traded=is_traded)
        raw = RawStore(tmp_path / str(is_traded)).partition(BTC, later)
        walk(venue, raw, known=known)
        assert not venue.searched
        assert raw.read_list().bounds == (replace(known, end_ms=None) if is_traded else known)


def file_of(minutes: Sequence[int], changes: Mapping[int, Mapping[str, str]] = MappingProxyType({})) -> str:
    """Return a file of minutes after the origin, with what the venue has; `changes` by minute and column."""
    lines = (kline(ORIGIN_MS + minute * 60_000, **changes.get(minute, {})) for minute in minutes)
    return "\n".join(",".join(map(str, line)) for line in lines)


def test_a_file_serves_its_window_and_its_holes_are_asked_for(raw: RawPartition) -> None:
    """Candles of a file are not asked for; its holes are, and so is the whole window of a file that is refused."""
    venue = Venue(rows(ALL))
    good, bad = (TimeRange.from_ms(ORIGIN_MS + a * 60_000, ORIGIN_MS + b * 60_000) for a, b in ((20, 60), (60, 80)))
    csv = file_of([minute for minute in range(20, 60) if minute not in {25, 26, 50}])
    venue.files = [BulkFile(good, "good.zip"), BulkFile(bad, "bad.zip")]
    venue.pages_of_files = {"good.zip": Page(BTC, good, NOW_MS, csv, Route.BULK), "bad.zip": None}
    report = walk(venue, raw)
    assert set(fetched(raw)) == set(ALL)
    asked = {(w.start_ms - ORIGIN_MS) // 60_000: (w.end_ms - ORIGIN_MS) // 60_000 for w in venue.asked}
    (compared,) = sample(BTC, good, LIMIT * 60_000)
    own = {(compared.start_ms - ORIGIN_MS) // 60_000: (compared.end_ms - ORIGIN_MS) // 60_000}
    assert asked == {0: 10, 10: 20, 25: 27, 50: 51, 60: 70, 70: 80, 80: 90, 90: 95} | own
    assert report.pages == len(asked) + 1


def test_a_file_that_differs_in_its_sample_is_asked_for_again(raw: RawPartition) -> None:
    """One candle in a page that is compared: all of the file comes from the API too, and later, so that it counts."""
    venue = Venue(rows(ALL))
    whole = TimeRange.from_ms(ORIGIN_MS, ORIGIN_MS + 80 * 60_000)
    (compared,) = sample(BTC, whole, LIMIT * 60_000)
    wrong = (compared.start_ms - ORIGIN_MS) // 60_000 + 3
    venue.files = [BulkFile(whole, "all.zip")]
    settled: list[int] = []
    for changes, asked in (({}, 1), ({"close": "99.5"}, 8)):
        venue.asked.clear()
        csv = file_of(range(80), {wrong: changes})
        venue.pages_of_files = {"all.zip": Page(BTC, whole, NOW_MS, csv, Route.BULK)}
        settled.clear()
        report = walk(venue, raw, on_page=lambda page, candles: settled.append(candles))
        inside = [window for window in venue.asked if window.start_ms < whole.end_ms]
        assert len(inside) == asked
        assert sum(settled) == len(ALL), "no candle is counted twice"
        pages = [key.route for key in raw.read_list().pages]
        assert (pages[0], report.pages) == (Route.BULK, 1 + asked + 2)
        shutil.rmtree(raw.folder)


def test_a_file_of_a_symbol_that_is_gone_is_taken_by_its_checksum(raw: RawPartition) -> None:
    """The archives keep what the API no longer knows."""
    venue = Venue([])

    def unknown(window: TimeRange, rows: list[list[object]]) -> list[list[object]]:
        raise UnknownSymbolError("gone")

    venue.tampers = unknown
    venue.files = [BulkFile(RANGE, "all.zip")]
    venue.pages_of_files = {"all.zip": Page(BTC, RANGE, NOW_MS, file_of(ALL), Route.BULK)}
    walk(venue, raw)
    assert fetched(raw) == list(ALL)


def test_a_sample_is_about_twenty_pages_a_month_and_always_the_same() -> None:
    """Of a shorter file half at most, and one at least; another month and another series have others."""
    may, june, day = (
        TimeRange(datetime(2024, *start, tzinfo=UTC), datetime(2024, *end, tzinfo=UTC))
        for start, end in (((5, 1), (6, 1)), ((6, 1), (7, 1)), ((5, 1), (5, 2)))
    )
    width_ms = 1000 * 60_000
    drawn = sample(BTC, may, width_ms)
    assert len(drawn) == 20
    assert drawn == sorted(set(drawn), key=lambda window: window.start_ms) == sample(BTC, may, width_ms)
    assert all(window in list(may.windows(width_ms)) for window in drawn)
    assert len(sample(BTC, june, width_ms)) == 20
    assert len(sample(BTC, may, 5 * width_ms)) == 4, "half of nine pages"
    assert len(sample(BTC, day, width_ms)) == 1
    places = {
        tuple((w.start_ms - month.start_ms) // width_ms for w in sample(of, month, width_ms))
        for of in (BTC, Series.parse("binance:ETH/USDT:1m"))
        for month in (may, june)
    }
    assert len(places) == 4


def test_a_candle_that_file_and_api_lack_is_no_reason_to_search(raw: RawPartition) -> None:
    """A hole in the middle comes back empty: that says nothing of where the series begins or ends."""
    venue = Venue(rows([minute for minute in ALL if minute not in {25, 94}]))
    csv = file_of([minute for minute in ALL if minute not in {25, 94}])
    venue.files = [BulkFile(RANGE, "all.zip")]
    venue.pages_of_files = {"all.zip": Page(BTC, RANGE, NOW_MS, csv, Route.BULK)}
    walk(venue, raw)
    assert len(set(fetched(raw))) == 93
    compared = set(sample(BTC, RANGE, LIMIT * 60_000))
    assert len([window for window in venue.asked if window not in compared]) == 4, "two holes, each looked at twice"
    assert not venue.searched


def test_a_page_is_on_disk_wholly_or_not_at_all(raw: RawPartition, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is an error, no page and no leftover if the disk refuses in the middle."""
    page = Page(BTC, RANGE, 0, "[]")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StoreError, match="No space left.*make room"):
        raw.write_page(page)
    assert raw.read_page(PageKey(RANGE, Route.CANDLES)) is None
    assert not [path for path in raw.folder.rglob("*") if path.is_file()]


def test_a_page_that_is_not_whole_was_never_kept(raw: RawPartition) -> None:
    """A page that a crash of the machine has cut, emptied or changed is told by its checksum, and fetched again."""
    venue = Venue(rows(ALL))
    walk(venue, raw)
    kept = sorted(raw.folder.glob("*.candles"))
    content = kept[0].read_bytes()
    kept[0].write_bytes(content[:-20])
    kept[1].write_bytes(b"")
    kept[2].write_bytes(b"\0" * len(content))
    kept[3].write_bytes(kept[3].read_bytes().replace(b"100", b"101", 1))
    with pytest.raises(StoreError, match="raw page is not there"):
        list(raw.read_pages(raw.read_list()))
    again = Venue(rows(ALL))
    walk(again, raw)
    assert sorted(again.asked) == WINDOWS[:4]
    assert fetched(raw) == list(ALL)


def test_what_is_served_no_longer_is_not_asked_for(tmp_path: Path) -> None:
    """Beyond an exchange's reach nothing is asked for, and where that ends is known to whoever explains absences."""
    traits = replace(TRAITS, reach=1000)
    span = TimeRange.from_ms(NOW_MS // 60_000 * 60_000 - 1500 * 60_000, NOW_MS // 60_000 * 60_000)
    minutes = range((span.start_ms - ORIGIN_MS) // 60_000, (span.end_ms - ORIGIN_MS) // 60_000)
    venue = Venue(rows(minutes), traits)
    raw = RawStore(tmp_path).partition(BTC, span)
    walk(venue, raw)
    served_from_ms = raw.read_list().bounds.served_from_ms
    assert served_from_ms is not None
    assert 0 < served_from_ms - (NOW_MS - 1000 * 60_000) <= 2 * 60 * 60_000
    assert min(window.start_ms for window in venue.asked) == served_from_ms
    assert len(set(fetched(raw))) == (span.end_ms - served_from_ms) // 60_000
    assert not venue.searched
