"""Loads all of Apprise's plugins, which takes seconds, for children that are forked from who has imported this."""

from apprise import Apprise  # noqa: TID253 - that is what it is for

Apprise.instantiate("json://127.0.0.1")
