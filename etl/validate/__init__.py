"""From rows as received to accepted candles and refused rows: pure functions, no I/O."""

from etl.validate.absences import FORMING, explain, find_absences
from etl.validate.clean import Cleaned, CleanReport, Refused, clean
from etl.validate.columns import ReceivedRows
from etl.validate.flags import FLAGGING, flag_candles, flag_names
from etl.validate.rules import FORMING, REFUSING, Level, Rule

__all__ = [
    "CleanReport",
    "Cleaned",
    "FLAGGING",
    "FORMING",
    "Level",
    "REFUSING",
    "ReceivedRows",
    "Refused",
    "Rule",
    "clean",
    "explain",
    "find_absences",
    "flag_candles",
    "flag_names",
]
