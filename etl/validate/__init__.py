"""From rows as received to accepted candles and refused rows: pure functions, no I/O."""

from etl.validate.absences import explain, find_absences
from etl.validate.clean import Cleaned, CleanReport, ReceivedRows, Refused, clean

__all__ = ["CleanReport", "Cleaned", "ReceivedRows", "Refused", "clean", "explain", "find_absences"]
