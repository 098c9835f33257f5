"""What learns from candles and judges them.

May read etl's ground, its reader and the warehouse; etl knows nothing of it.
"""
