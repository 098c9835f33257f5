"""alerts.toml: what is wrong is said in a line each, with what would have been right."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import pytest

from etl.alerting import Alerting, load_alerting
from etl.errors import ConfigError
from etl.incidents import Severity
from tests.conftest import REPOSITORY

WHOLE = """
news = "24h"
cool_down = "1h"

[channels.chat]
allow_private = true
[channels.phone]

[[routes]]
channels = ["chat"]
severity = "high"
kinds = ["crash", "failed_partition"]
symbols = ["BTC/USDT"]

[[routes]]
channels = ["phone"]
unacknowledged_for = "15m"

[quiet_hours]
start = "22:00"
end = 07:00:00
zone = "Europe/Berlin"

[digest]
at = "08:00"
channels = ["chat"]

[spread]
cost_bps = 40

[opinion]
url = "http://127.0.0.1:11434/v1"
model = "some-model"
"""


def write(folder: Path, content: str) -> Path:
    """Write a file and return its path."""
    path = folder / "alerts.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Durations, severities, clocks and tables are what they say."""
    read = load_alerting(write(tmp_path, WHOLE))
    assert read.news == timedelta(hours=24)
    assert read.routes[0].severity is Severity.HIGH
    assert read.routes[1].unacknowledged_for == timedelta(minutes=15)
    assert read.quiet_hours is not None
    assert (read.quiet_hours.start, read.quiet_hours.end) == (time(22), time(7))
    assert read.channels["chat"].allow_private


def test_the_example_is_valid_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    """The project's own alerts.toml has one channel and one route, and every other value is the default."""
    path = REPOSITORY / "alerts.toml"
    read = load_alerting(path)
    assert set(read.channels) == {"chat"}
    assert read.model_copy(update={"channels": {}, "routes": ()}) == Alerting()
    # What is commented out is valid too, and says what the defaults are.
    lines = path.read_text(encoding="utf-8").splitlines()
    whole = "\n".join(line.removeprefix("# ") if "=" in line or "[" in line else line for line in lines)
    said = load_alerting(write(tmp_path, whole))
    assert said.quiet_hours is not None
    assert said.digest is not None
    examples = {"channels": {}, "routes": (), "quiet_hours": None, "digest": None}
    assert said.model_copy(update=examples) == Alerting()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("cool_down", "cooldown", "cooldown: unknown key; nearest: cool_down"),
        ('"1h"', '"1 hour"', "cool_down: '1 hour' is no duration; write a number and m, h or d, such as '24h'"),
        ("allow_private", "private", "channels.chat.private: unknown key; nearest: allow_private"),
        ("severity =", "serverity =", "routes.0.serverity: unknown key; nearest: severity"),
        ('"high"', '"grave"', "routes.0.severity: 'grave' is unknown; write low, high or critical"),
        ('"crash"', '"crahs"', "routes.0.kinds.0: 'crahs' is no kind; nearest: crash"),
        ('"BTC/USDT"', '"BTCUSDT"', "'BTCUSDT' is no symbol; write BASE/QUOTE, such as BTC/USDT"),
        ('["phone"]', '["fone"]', "no table [channels.fone]; nearest: phone; an empty one will do"),
        ('["phone"]', "[]", "routes.1.channels: empty; name at least one"),
        ("[channels.phone]", "[channels.Phone]", "'Phone' is no channel name; write lower case letters, digits and _"),
        ('symbols = ["BTC/USDT"]', 'unacknowledged_for = "5m"', "nobody can acknowledge failed_partition"),
        ('"22:00"', '"22.00"', "quiet_hours.start: '22.00' is no time of day; write one such as '22:00'"),
        ('"22:00"', '"25:00"', "'25:00' is no time of day"),
        ('"22:00"', '"07:00"', "quiet_hours: start and end are the same; leave the table out"),
        ('"Europe/Berlin"', '"Berlin"', "'Berlin' is no time zone; write one such as Europe/Berlin, or UTC"),
        ('"Europe/Berlin"', '"../etc/passwd"', "is no time zone"),
        ('at = "08:00"', "", "digest.at: missing"),
        ("cost_bps", "cost", "spread.cost: unknown key; nearest: cost_bps"),
        ('"http://127', '"ftp://127', "11434/v1' is no web address; write http:// or https:// before it"),
        ("[spread]", "[spread", "cannot be read"),
    ],
)
def test_each_mistake_is_a_clear_line(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    """A mistake in the file is one line with the file, the place, and what would have been right."""
    path = write(tmp_path, WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_alerting(path)
    lines = [line for line in str(caught.value).splitlines() if complaint in line]
    assert len(lines) == 1, str(caught.value)
    assert str(path) in lines[0]


def test_a_file_need_not_be_there_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without alerts.toml nobody is told anything; CHANDLER_ALERTS that leads nowhere is a mistake."""
    monkeypatch.delenv("CHANDLER_ALERTS", raising=False)
    assert load_alerting(tmp_path / "alerts.toml") == Alerting()
    monkeypatch.setenv("CHANDLER_ALERTS", str(tmp_path / "other.toml"))
    with pytest.raises(ConfigError, match="CHANDLER_ALERTS names .*other.toml, which is not there"):
        load_alerting()


def test_the_documentation_shows_a_valid_file_with_the_defaults(tmp_path: Path) -> None:
    """The whole file in docs/alerts.md is read, and what it calls defaults are the defaults."""
    page = (REPOSITORY / "docs" / "alerts.md").read_text(encoding="utf-8")
    shown = page.split("\n## alerts.toml\n")[1].split("```toml\n")[1].split("```")[0]
    read = load_alerting(write(tmp_path, shown))
    examples = {"channels": {}, "routes": (), "quiet_hours": None, "digest": None}
    assert read.model_copy(update=examples) == Alerting()
    assert read.channels["chat"] == read.channels["phone"]
