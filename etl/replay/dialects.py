"""Every protocol that the replay exchange speaks. A new one is a module like these and a line here."""

from etl.replay.binance import BINANCE
from etl.replay.coinbase import COINBASE
from etl.replay.data_site import DATA_SITE
from etl.replay.kraken import KRAKEN

DIALECTS = (BINANCE, COINBASE, KRAKEN, DATA_SITE)
