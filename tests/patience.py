"""The longest that a test waits for another process.

It ends what hangs, and measures nothing: far above what anything here takes, however busy the machine is.
"""

PATIENCE_S = 900
