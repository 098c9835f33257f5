"""Models that learn from candles and judge them.

May read etl's ground, its reader and the warehouse; etl knows nothing of it.
"""
