"""Receivers of alerts in tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.alerts.receivers import MailReceiver, WebReceiver, mail_receiver, web_receiver


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    """A web server to send to."""
    with web_receiver() as receiver:
        yield receiver


@pytest.fixture
def mail() -> Iterator[MailReceiver]:
    """A mail server to send to."""
    with mail_receiver() as receiver:
        yield receiver
