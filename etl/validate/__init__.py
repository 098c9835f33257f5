"""From rows as received to accepted candles and refused rows: pure functions, no I/O."""

from etl.validate.absences import explain, find_absences, refused_slots
from etl.validate.clean import Cleaned, CleanReport, Refused, clean
from etl.validate.columns import ReceivedRows
from etl.validate.flags import FLAGGING, flag_candles, flag_names
from etl.validate.judging import judge, surroundings
from etl.validate.printing import find_unprinted
from etl.validate.rules import FORMING, OFF_GRID, REFUSING, SUPERSEDED, Level, Rule
from etl.validate.silence import Presence

__all__ = [
    "CleanReport",
    "Cleaned",
    "FLAGGING",
    "FORMING",
    "Level",
    "OFF_GRID",
    "Presence",
    "REFUSING",
    "ReceivedRows",
    "Refused",
    "Rule",
    "SUPERSEDED",
    "clean",
    "explain",
    "find_absences",
    "find_unprinted",
    "flag_candles",
    "flag_names",
    "judge",
    "refused_slots",
    "surroundings",
]
