"""A file that a user has, looked through once and cut into raw pages.

It is read in a stream and more than once, so memory holds the pages that are asked for and no more, however large the
file turns out to be when it is unpacked.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from zoneinfo import ZoneInfo

from etl.errors import ConfigError
from etl.extract.files.columns import FileColumns, Header, find_columns
from etl.extract.files.formats import format_of, read_lines
from etl.extract.files.moments import Undecided, to_moment
from etl.extract.files.neighbours import FileRow, Neighbours
from etl.extract.files.page_rows import to_body, to_numbered, to_stamped
from etl.extract.files.survey import MOST_OPEN, Survey, too_open
from etl.extract.files.times import TimeReader, Undated, find_order
from etl.extract.source import Page, Route
from etl.series import Series, TimeRange, subtract, united
from etl.timeframe import from_ms

_SAMPLE_LINES = 200
_DAY_MS = 86_400_000
# So long, and for so many candles, must a file be silent to say nothing of that time: else what it lacks is absent.
_SILENCE_DAYS, _SILENCE_SLOTS = 7, 100
_MOST_LINES = 100_000
"""Different lines without a time of which equal ones are told apart; so many are in memory."""


@dataclass(frozen=True, slots=True)
class CandleFile:
    """A file that was looked through.

    Attributes:
        format: What it is, for a reader.
        has_lines: Whether its lines are those that an editor shows; those of other formats are made of rows.
        columns: How its lines look.
        modified_ms: When it was written; a candle that had not closed by then was still forming.
        digest: SHA-256 of its bytes.
        lines: How many it has: `len(header.skipped) + blank + rows`.
        rows: How many lines are neither blank nor before the first row.
        stretches: What it says something of: ascending, disjoint. Where it is silent for a week, and
            for _SILENCE_SLOTS candles, it says nothing.
        possible: The slots of closed candles that its rows of two readings may be of: ascending, disjoint. Of one
            beyond the stretches it says no more than that.
        open_slots: How many slots it says nothing of since rows that state no open time may be of any of them.
        times: Reads its open times, in the order of its rows.
        remarks: What its rows say of themselves that could not be compared with the series.
    """

    path: Path
    series: Series
    format: str
    has_lines: bool
    columns: FileColumns
    header: Header
    modified_ms: int
    digest: str
    lines: int
    blank: int
    rows: int
    stretches: tuple[TimeRange, ...]
    possible: tuple[TimeRange, ...]
    open_slots: int
    times: TimeReader
    remarks: tuple[str, ...]
    _neighbours: Neighbours
    _text_bytes: Mapping[int, int]

    def text_bytes(self, time_range: TimeRange) -> int:
        """Return about how long the lines of a range are, which begins and ends at midnight or with the file."""
        days = range(time_range.start_ms // _DAY_MS, -(-time_range.end_ms // _DAY_MS))
        return sum(self._text_bytes[day] for day in days if day in self._text_bytes)

    @property
    def numbered(self) -> str:
        """Name of what the places of its rows count: lines as an editor shows them, or rows without any names."""
        return "line" if self.has_lines else "row"

    def stamped(self) -> Iterator[tuple[int | None, int, str]]:
        """Read the file, and yield each row's open time, the first that it may be, its place, and its stamped line."""
        rows = _rows(read_lines(self.path, self.series), self.columns, self.header, _again(self.times))
        first = 1 if self.has_lines else 1 - len(self.header.lines)
        counts: Counter[str] = Counter()
        for number, opened, line in self._neighbours.tell(rows):
            if opened is None:
                continue
            count, readings = 1, (opened,) if isinstance(opened, int) else opened.readings_ms
            if isinstance(opened, Undated) and not opened.is_doubtful and (line in counts or len(counts) < _MOST_LINES):
                counts[line] += 1
                count = counts[line]
            yield next(iter(readings), None), first + number, to_stamped(line, opened, count)

    def pages(self, time_ranges: Sequence[TimeRange], wanted: Sequence[int]) -> Iterator[Page]:
        """Read the file and yield a page for some of `time_ranges`; all of them are in memory at once.

        Every line belongs to one of the ranges: to the one that its candle opens in, or if there is none to the one
        before; and a line that states no time to that of the line before it. So no line is lost.

        Args:
            time_ranges: All that the file is cut into, ascending and disjoint.
            wanted: The numbers of those to yield.
        """
        starts = [time_range.start_ms for time_range in time_ranges]
        texts: dict[int, list[str]] = {number: [] for number in wanted}
        last: dict[int, int] = {}
        number = 0
        for at_ms, place, text in self.stamped():
            if at_ms is not None:
                number = max(bisect_right(starts, at_ms) - 1, 0)
            if number in texts:
                texts[number].append(text if last.get(number) == place - 1 else to_numbered(text, place))
                last[number] = place
        if not self._is_unchanged():
            raise ConfigError(f"{self.path} was written to while it was read; import it again", series=self.series)
        for number in wanted:
            body = to_body(self.columns, texts.pop(number), self.numbered)
            yield Page(self.series, time_ranges[number], self.modified_ms, body, Route.FILE)

    def _is_unchanged(self) -> bool:
        """Return whether the file has the bytes that were looked through: a copy may keep the time of another."""
        try:
            return _modified_ms(self.path) == self.modified_ms and _digest(self.path) == self.digest
        except OSError:
            return False

    def first_page(self, count: int) -> Page:
        """Return a page of the first rows."""
        stamped = [to_numbered(text, place) for _, place, text in islice(self.stamped(), count)]
        body = to_body(self.columns, stamped, self.numbered)
        return Page(self.series, self.stretches[0], self.modified_ms, body, Route.FILE)


def look_through(path: Path, series: Series, zone: ZoneInfo | None = None) -> CandleFile:
    """Read a file once, to find out what it holds.

    Args:
        series: Whose candles they are; a file that says that they are another's is refused.
        zone: Of times that say none. Without one they are UTC, unless the file shows that they are not.

    Raises:
        ConfigError: It cannot be read, or is no file of candles of this timeframe, or can be read in two ways.
    """
    try:
        if not path.is_file():
            is_there = path.exists()
            raise ConfigError(f"{path} is no file; name a file of candles" if is_there else f"no such file: {path}")
        modified_ms = _modified_ms(path)
        digest = _digest(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    try:
        lines = read_lines(path, series)
        sample = list(islice(lines, _SAMPLE_LINES))
        columns, header = find_columns(sample, series, lambda: read_lines(path, series))
        times = _time_reader(path, series, sample, columns, TimeReader(modified_ms, zone, series.timeframe.ms))
        neighbours = Neighbours(
            series.timeframe.ms, times.is_descending, frozenset(sample[number] for number in header.lines)
        )
        survey = _survey(chain(sample, lines), Survey(columns, series, times), header, neighbours)
        if times.counted:  # Local times that may be two moments: now it is known how often the file has each.
            times = replace(times, doubled=times.counted, counted=Counter(), naive=0)
            survey = _survey(read_lines(path, series), Survey(columns, series, times), header, neighbours)
        survey.check()
        open_ranges = _open_ranges(survey, _rows(read_lines(path, series), columns, header, _again(times)))
        closed_ms = modified_ms // series.timeframe.ms * series.timeframe.ms
        possible = _possible(survey, closed_ms)
        stretches = _stretches(survey, open_ranges, closed_ms, modified_ms)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", series=series) from error
    return CandleFile(
        path,
        series,
        *format_of(path, series),
        columns,
        header,
        modified_ms,
        digest,
        lines=survey.rows + survey.blank + len(header.skipped),
        blank=survey.blank,
        rows=survey.rows,
        stretches=stretches,
        possible=possible,
        open_slots=sum(part.count(series.timeframe) for one in open_ranges for part in subtract(one, possible)),
        times=_again(times),
        remarks=tuple(survey.remarks),
        _neighbours=neighbours,
        _text_bytes=survey.text_bytes,
    )


def _survey(lines: Iterable[str], survey: Survey, header: Header, neighbours: Neighbours) -> Survey:
    for _, opened, line in neighbours.tell(_rows(lines, survey.columns, header, survey.times)):
        survey.take(line, opened)
    return survey


def _rows(lines: Iterable[str], columns: FileColumns, header: Header, times: TimeReader) -> Iterator[FileRow]:
    for number, line in enumerate(lines):
        if number not in header.skipped:
            yield number, None if not line.strip() else _opened(columns, times, line), line


def _time_reader(
    path: Path, series: Series, sample: Sequence[str], columns: FileColumns, times: TimeReader
) -> TimeReader:
    """Return `times` with the order of days and months, and of rows, that the file has."""
    texts = [text for line in sample if (text := columns.time_text(line)) is not None]
    if any(isinstance(to_moment(text, None), Undecided) for text in texts):
        every = (columns.time_text(line) for line in read_lines(path, series))
        times = replace(times, order=find_order(text for text in every if text is not None))
    # In UTC, since here order alone matters.
    reader = TimeReader(times.clock_ms, None, times.width_ms, times.order)
    opened = [at for text in texts if isinstance(at := reader.read(text), int)]
    return replace(times, is_descending=len(opened) > 1 and opened[0] > opened[-1])


def _opened(columns: FileColumns, times: TimeReader, line: str) -> int | Undated:
    text = columns.time_text(line)
    return Undated("the line ends before its open time") if text is None else times.read(text)


def _again(times: TimeReader) -> TimeReader:
    return replace(times, counted=Counter())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _modified_ms(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000


def _open_ranges(survey: Survey, rows: Iterable[FileRow]) -> list[TimeRange]:
    """Return what rows without a time leave open, but for the slots that other rows are of, wherever they stand."""
    ranges = united(TimeRange.from_ms(*bounds) for bounds in survey.open_ms)
    if not ranges:
        return []
    starts, width_ms = [one.start_ms for one in ranges], survey.series.timeframe.ms
    held: set[int] = set()
    for _, opened, _ in rows:
        if isinstance(opened, int):
            at_ms = opened - opened % width_ms
            place = bisect_right(starts, at_ms) - 1
            if place >= 0 and at_ms < ranges[place].end_ms:
                held.add(at_ms)
    slots = united(TimeRange.from_ms(at_ms, at_ms + width_ms) for at_ms in held)
    left = [part for one in ranges for part in subtract(one, slots)]
    if len(left) > MOST_OPEN:
        raise too_open("their order in the file does not tell them either")
    return left


def _stretches(
    survey: Survey, open_ranges: Sequence[TimeRange], closed_ms: int, modified_ms: int
) -> tuple[TimeRange, ...]:
    width_ms = survey.series.timeframe.ms
    longest = max(_SILENCE_DAYS, _SILENCE_SLOTS * width_ms // _DAY_MS)
    stretches: list[TimeRange] = []
    last_day = None
    for day in sorted(survey.days):
        first_ms, end_ms = survey.days[day].first_ms, min(survey.days[day].last_ms + width_ms, closed_ms)
        if first_ms >= end_ms:
            continue
        if last_day is not None and day - last_day <= longest:
            first_ms = stretches.pop().start_ms
        stretches.append(TimeRange.from_ms(first_ms, end_ms))
        last_day = day
    if not stretches and survey.doubtful:
        raise ConfigError(
            f"none of its rows states one moment: {survey.first_reason}; write times with their offset, for example "
            "2023-10-29T02:00+01:00, or add the rows before or after"
        )
    if not stretches:
        raise ConfigError(f"no candle in it had closed when it was written, at {from_ms(modified_ms):%Y-%m-%d %H:%M}")
    return tuple(part for stretch in stretches for part in subtract(stretch, open_ranges))


def _possible(survey: Survey, closed_ms: int) -> tuple[TimeRange, ...]:
    width_ms = survey.series.timeframe.ms
    return tuple(
        united(TimeRange.from_ms(at_ms, at_ms + width_ms) for at_ms in survey.possible_ms if at_ms < closed_ms)
    )
