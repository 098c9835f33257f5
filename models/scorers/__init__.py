"""The ways to judge candles: one file each, and one line here."""
