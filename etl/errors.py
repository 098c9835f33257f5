"""The error tree: every failure that Chandler reports, and whether a retry can help.

Third-party exceptions are translated into these once, at the adapter that met them. Rows are data, not errors: a bad
row goes to quarantine, and only too many of them raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from etl.series import Series, TimeRange


class ChandlerError(Exception):
    """A failure with its place. The message says what happened and what to do about it.

    Args:
        message: One line for a person.
        series: The series at hand, where there is one.
        time_range: The range at hand, where there is one.
    """

    is_retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, series: Series | None = None, time_range: TimeRange | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.series = series
        self.time_range = time_range

    def __str__(self) -> str:
        place = " ".join(str(part) for part in (self.series, self.time_range) if part is not None)
        return f"{place}: {self.message}" if place else self.message

    def widen(self, time_range: TimeRange) -> None:
        """Make this the failure of `time_range`, which was asked for; the message says which page of it failed."""
        if self.time_range is not None and self.time_range != time_range:
            self.message = f"{self.message} (page {self.time_range})"
        self.time_range = time_range

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, so that keyword arguments survive a process boundary."""
        return (_revive, (type(self), self.args, self.__dict__))


def _revive(cls: type[ChandlerError], args: tuple[Any, ...], state: dict[str, Any]) -> ChandlerError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class ConfigError(ChandlerError):
    """feeds.toml, the environment or a Connection says something that cannot be meant."""


class NoStoreError(ConfigError):
    """No warehouse is there, and none may be made: no embedded store, or a database without tables.

    Args:
        missing: What is not there, such as `there is no store in .chandler`.
    """

    def __init__(self, message: str, *, missing: str) -> None:
        super().__init__(message)
        self.missing = missing


class LostWarehouseError(ConfigError):
    """No warehouse is there, and an archive that holds candles: there was one, and it is lost."""


class SourceError(ChandlerError):
    """An exchange did not give what was asked for."""


class SourceUnavailableError(SourceError):
    """The exchange cannot be reached, or answers that it cannot serve just now."""

    is_retryable = True


class NotClosedError(SourceUnavailableError):
    """The requested candles have not closed yet."""


class RateLimitError(SourceError):
    """The exchange wants fewer requests.

    Args:
        retry_after_s: Seconds the exchange asks us to stay away, where it says so.
    """

    is_retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None = None, **place: Any) -> None:
        super().__init__(message, **place)
        self.retry_after_s = retry_after_s


class UnknownSymbolError(SourceError):
    """The exchange does not list this symbol."""


class NotListedError(UnknownSymbolError):
    """The exchange lists a symbol no more whose candles are held: a second look on another day decides."""

    is_retryable = True


class MalformedPayloadError(SourceError):
    """The answer is not what the exchange's protocol promises, as when a gateway answers; it may be later."""

    is_retryable = True


class DataQualityError(ChandlerError):
    """The data contradict what they should be."""


class SchemaMismatchError(DataQualityError):
    """A stored file or table has another shape than this version reads."""


class QuarantineLimitError(DataQualityError):
    """So many rows of a partition were refused that the exchange, or a rule, must be wrong."""


class ClassificationError(DataQualityError):
    """The absences of a series cannot be told apart by kind; they keep the kinds that they have."""


class StoreError(ChandlerError):
    """The archive, the raw pages or the warehouse cannot be read or written."""


class MissingPagesError(StoreError):
    """The raw pages of a partition, or what was cleaned of them, are not there: an earlier step has to run again."""


class StoreUnavailableError(StoreError):
    """The store does not answer just now."""

    is_retryable = True


class StoreLostError(StoreUnavailableError):
    """The warehouse is away, or its disk is full: whatever else is under way cannot go on either."""


class ModelError(ChandlerError):
    """A model cannot be trained, kept or used."""


class InsufficientHistoryError(ModelError):
    """There are too few candles to learn from."""


class ArtifactError(ModelError):
    """A model's blob is not what it says, or not what this version reads."""


class AlertDeliveryError(ChandlerError):
    """A channel did not take a message; it stays in the outbox and is tried again."""

    is_retryable = True
