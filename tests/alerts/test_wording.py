"""Messages in words: all that matters, short, and nothing from outside that any renderer takes for markup."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.alerts.phrases import how_seldom, number, percent, plain, times, while_in_words, with_addresses
from etl.alerts.wording import BODY_LENGTH, TITLE_LENGTH, More, compose, repeated
from etl.incidents import Evidence, Fired, Incident, Kind, Numbers, Scope, Severity, Witness
from etl.messages import PipelineKind
from etl.series import Series, TimeRange
from tests.alerts.made_alerts import BTC, ETH, NOON, alert_of, incident, notice

OPINION = {
    "model": "some-model",
    "kind": "data_fault",
    "confidence": 0.8,
    "explanation": "One venue printed it.",
    "action": "quarantine",
}


def bad_print() -> Incident:
    """Return an incident of one venue, with all the evidence there can be."""
    evidence = Evidence(
        numbers=Numbers(50_000.0, 50_100.0, 46_000.25, 50_050.0, 1234.5, 5210),
        last_close=50_010.0,
        usual_volume=40.0,
        move_pct=-8.02,
        shares={"range": 0.7, "return": 0.26, "volume": 0.04},
        fired=(Fired(Kind.DATA_FAULT, "a wick of 8.0 % that coinbase does not show"),),
        witnesses=(
            Witness(
                Series.parse("coinbase:BTC/USD:1m"),
                Numbers(50_001.0, 50_020.0, 49_990.5, 50_011.0, 12.0),
                -0.04,
                False,
                "low 49,990.50, -0.04 %, against -8.02 % here",
            ),
        ),
    )
    return incident(7, kind=Kind.DATA_FAULT, scope=Scope.VENUE, evidence=evidence, opinion=OPINION, once_in_days=40_000)


def test_a_message_says_what_where_when_how_unusual_and_why() -> None:
    """Title and first line say it; then the candle against what is usual, rules, other venues, opinion, commands."""
    title, body = compose([alert_of(bad_print())], Severity.HIGH, link_base="https://airflow.example/")
    assert title == "High: BTC/USDT on binance: data fault, -8.02 %"
    first, *lines = [line for line in body.splitlines() if line]
    assert first == (
        "**BTC/USDT on binance, 1m**: 2026-01-10 12:00 to 12:09 UTC; more seldom than once in 100 years; "
        "seen on binance alone."
    )
    assert lines == [
        "- Peak 12:01: open 50,000.00, high 50,100.00, low 46,000.25, close 50,050.00; -8.02 % from 50,010.00",
        "- Volume 1,234.50 BTC, 31 times the usual; 5,210 trades",
        "- Data fault: a wick of 8.0 % that coinbase does not show",
        "- coinbase (BTC/USD) does not show it: low 49,990.50, -0.04 %, against -8.02 % here; "
        "at 12:01 high 50,020.00, low 49,990.50, close 50,011.00",
        "- A language model (some-model, 80 % sure) thinks: data fault. “One venue printed it.” It would quarantine. "
        "Nobody has checked that.",
        "- Made by (model 1m/3): range 70 %, return 26 %",
        "[Look at it](https://airflow.example/chandler/incident?id=7): "
        "`chandler incidents show 7`, `chandler incidents acknowledge 7`",
    ]


def test_what_is_not_known_is_not_said() -> None:
    """An incident that no model judged, near no other candle, has no times the usual, no rarity and no link."""
    bare = Evidence(Numbers(1.0, 1.0, 1.0, 1.0, 0.0), None, None, None)
    title, body = compose(
        [alert_of(incident(kind=Kind.FROZEN_PRICE, evidence=bare, once_in_days=None, is_over=False, model=None))],
        Severity.LOW,
    )
    assert title == "Low: BTC/USDT on binance: frozen price at 1.00"
    assert "and it may go on; seen on other exchanges too." in body
    for unsaid in ("None", " nan", "times the usual", "once", "http", "Made by", "%"):
        assert unsaid not in body


def test_a_market_event_lists_its_series_the_worst_first() -> None:
    """One message names the worst, lists ten, says how many more there are, and stays short."""
    names = [f"binance:C{number}/USDT:1m" for number in range(14)]
    several = [incident(number, name) for number, name in enumerate(names, 1)]
    several[8] = incident(9, names[8], severity=Severity.CRITICAL)
    title, body = compose([alert_of(one) for one in several], Severity.CRITICAL, more=More(3, NOON))
    assert title == "Critical: market event on 14 series, the worst C8/USDT on binance: crash, -16.0 %"
    listed = re.findall(r"^- \*\*(.*?)\*\*", body, flags=re.MULTILINE)
    assert len(listed) == 10
    assert listed[0] == "C8/USDT"
    assert "- and 4 more" in body
    assert "And 3 more since 2026-01-10 12:00 UTC, see `chandler incidents`." in body
    assert "`chandler incidents show 9`" in body
    assert len(body) <= BODY_LENGTH


def test_an_incident_with_two_alerts_is_told_of_once() -> None:
    """An incident that grew worse before anyone was told is one incident, not two."""
    grown = incident(1, severity=Severity.CRITICAL)
    low = replace(alert_of(grown), id=2, severity=Severity.LOW, identity="incident:1:low")
    title, _ = compose([alert_of(grown), low], Severity.CRITICAL)
    assert title == "Critical: BTC/USDT on binance: crash, -16.0 %"


def test_notices_say_what_failed_and_lead_there() -> None:
    """One says what and why; several of a kind are counted and listed; a link stays on Airflow's UI."""
    title, body = compose([alert_of(notice())], Severity.HIGH, link_base="https://airflow.example")
    assert title == "High: binance:BTC/USDT:1m failed"
    assert body.startswith("2026-01-10 12:00 UTC: the exchange did not answer.\n")
    assert "(https://airflow.example/dags/ingest_majors/runs/scheduled__2026-01-10T00:00:00+00:00/tasks" in body
    several = [alert_of(notice(f"n{n}", kind=PipelineKind.LATE_LOAD), n) for n in (1, 2, 3)]
    assert compose(several, Severity.HIGH)[0] == "High: 3 loads are late"
    for evil in ("https://evil.example", "//evil.example", "javascript:alert(1)", "/x) [y](http://evil.example"):
        if not evil.startswith("/"):
            assert "evil" not in compose([alert_of(notice(link=evil))], Severity.LOW, link_base="https://a")[1]
    _, body = compose([alert_of(notice(link="/x) [y](http://evil.example"))], Severity.LOW, link_base="https://a")
    assert body.count("](") == 1


def test_a_repetition_says_so_first() -> None:
    """Title and first line say that it may have arrived before, and what it is."""
    title, body = repeated("High: crash", "all of it", "alerts:0123")
    assert title == "Perhaps again: High: crash"
    assert body.startswith("**This may have reached you already.**")
    assert "alerts:0123" in body
    assert body.endswith("all of it")


def test_an_escalation_says_for_how_long_nobody_has_acknowledged() -> None:
    """The title begins with it."""
    title, _ = compose([alert_of(incident())], Severity.HIGH, unacknowledged_for=timedelta(minutes=90))
    assert title.startswith("Not acknowledged for 90 min: High: BTC/USDT")


NASTY = (
    "[x](http://evil.example) <!channel> @everyone `rm -rf` **b** &lt;script&gt; \u202e\n\n# head\x1b[31m _i_ ~~s~~ |t|"
)


def test_a_range_in_a_text_keeps_its_meaning() -> None:
    """As logs write it, its brackets would be replaced, and an inclusive start would read as an exclusive one."""
    day = TimeRange(NOON, NOON + timedelta(days=1))
    said = plain(f"binance:BTC/USDT:1m {day}: the exchange [binance] refuses", 200)
    assert said == "binance:BTC/USDT:1m 2026-01-10 12:00 to 2026-01-11 12:00: the exchange (binance) refuses"


def test_texts_from_outside_are_only_text() -> None:
    """An opinion, a reason or a server's text makes no link, no mention, no emphasis, no line of its own."""
    evil = {**OPINION, "explanation": NASTY, "model": NASTY, "kind": NASTY, "action": NASTY, "confidence": "1e9"}
    one = bad_print()
    evidence = replace(one.found.evidence, fired=(Fired(Kind.CRASH, NASTY),), shares={NASTY: 1.0})
    one = replace(one, found=replace(one.found, evidence=evidence), opinion=evil, model=NASTY)
    bodies = [
        compose([alert_of(one)], Severity.LOW)[1],
        *compose([alert_of(notice(title=NASTY, detail=NASTY))], Severity.LOW),
        "\n".join(compose([alert_of(notice(f"n{n}", title=NASTY), n) for n in (1, 2)], Severity.LOW)),
    ]
    for body in (re.sub(r"`[^`\n]*`", "", one) for one in bodies):  # what stands as code is nothing but text
        for mark in ("](", "://", "<", ">", "@", "&", "~", "|", "\x1b", "\u202e", "**b", "_i", "\n#", "`rm"):
            assert mark not in body


@given(text=st.text(max_size=200), most=st.integers(1, 60))
def test_plain_is_one_short_line(text: str, most: int) -> None:
    """Whatever it is given, no marks, no control characters and no line ends are left, and it is short enough."""
    kept = plain(text, most)
    assert len(kept) <= most
    assert not set(kept) & set("`*[]{}<>|\\~&@\n\r\t")
    assert "://" not in kept
    assert kept == kept.strip()


def test_an_address_stays_whole_and_is_no_link() -> None:
    """The address in a notice can be copied; it stands as code, and what comes around it is as ever."""
    said = "binance is not there: http://127.0.0.1:8900/api/v3/_x?a=1&b=~2 (see https://x.example/y). *Ask* again."
    _, body = compose([alert_of(notice(detail=said))], Severity.HIGH)
    assert body.endswith(
        "binance is not there: `http://127.0.0.1:8900/api/v3/_x?a=1&b=~2` (see `https://x.example/y`). ·Ask· again."
    )


@given(text=st.text(alphabet="ab `*_:/.)(\n\x00…", max_size=80), most=st.integers(1, 90), at=st.integers(0, 80))
def test_text_around_an_address_is_only_text(text: str, most: int, at: int) -> None:
    """However it is cut, an address is whole or left out, and all that is not code has no marks."""
    address = "https://chandler.example/a_b"
    kept = with_addresses(f"{text[:at]} {address} {text[at:]}", most)
    assert len(kept) <= most
    assert kept.count("`") % 2 == 0
    assert not set(re.sub(r"`[^`]*`", "", kept)) & set("`*\n\x00")
    assert all(one.startswith("http") for one in re.findall(r"`([^`]*)`", kept))


@given(
    count=st.integers(1, 40),
    long=st.text(min_size=0, max_size=3000),
    held=st.integers(0, 10_000),
    value=st.floats(allow_nan=True, allow_infinity=True),
)
def test_a_message_is_short_whatever_it_tells(count: int, long: str, held: int, value: float) -> None:
    """Title and body keep to their lengths, and the commands are always there."""
    evidence = Evidence(
        numbers=Numbers(value, value, value, value, value),
        last_close=value,
        usual_volume=value,
        move_pct=value,
        shares={long: value},
        fired=(Fired(Kind.CRASH, long),) * 9,
        witnesses=(Witness(Series.parse(ETH), None, value, None, long),) * 9,
    )
    several = [incident(10**9 + n, BTC, evidence=evidence, opinion={"explanation": long}) for n in range(count)]
    more = More(held, NOON) if held else None
    title, body = compose([alert_of(one) for one in several], Severity.LOW, link_base="https://a.example", more=more)
    assert len(title) <= TITLE_LENGTH
    assert len(body) <= BODY_LENGTH
    assert "`chandler incidents show 1000000000`" in body
    title, body = compose(
        [alert_of(notice(f"{n}", title=long, detail=long), n + 1) for n in range(count)], Severity.LOW
    )
    assert len(title) <= TITLE_LENGTH
    assert len(body) <= BODY_LENGTH


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (12_345.67, "12,345.67"),
        (48_300.1, "48,300.10"),
        (0.00001234, "0.00001234"),
        (0.743125, "0.743125"),
        (1.5, "1.50"),
        (999.987654, "999.988"),
        (0.1, "0.10"),
        (1234567.8, "1,234,568"),
        (-0.02, "-0.02"),
        (0.0, "0"),
        (1e-30, "1e-30"),
        (2e20, "2e+20"),
        (float("nan"), "?"),
        (None, "?"),
    ],
)
def test_numbers_are_for_people(value: float | None, said: str) -> None:
    """Thousands are parted, small prices keep their digits, and what is no number is a question mark."""
    assert number(value) == said


def test_rarity_changes_and_durations_are_for_people() -> None:
    """Each in the unit that people would choose."""
    days = (0.1, 1, 1.6, 40, 200, 365 * 3, 36_525)
    assert [how_seldom(one) for one in days] == [
        "about 10 times a day",
        "about once a day",
        "about once in 38 hours",
        "about once in 40 days",
        "about once in 7 months",
        "about once in 3 years",
        "more seldom than once in 100 years",
    ]
    assert [percent(one) for one in (-13.14, 0.421, 1234.5)] == ["-13.1 %", "+0.42 %", "+1,234.5 %"]
    assert [percent(one) for one in (float("nan"), float("inf"), 3e20)] == ["?", "?", "+3e+20 %"]
    assert [times(one) for one in (31.2, 4.23, 0.051, 12_345.6)] == ["31", "4.2", "0.051", "12,346"]
    minutes = (5, 60, 90, 120, 60 * 48)
    assert [while_in_words(timedelta(minutes=one)) for one in minutes] == ["5 min", "1 h", "90 min", "2 h", "2 days"]
