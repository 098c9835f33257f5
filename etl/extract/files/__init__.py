"""Files of candles that users hand in: container, format, columns, times, rows.

`containers` opens what a file is packed in, `formats` turns each format into lines of values, `columns` finds which
value is which, `times` reads when a candle opens, `candle_file` looks a file through and cuts it into pages, and
`page_rows` reads a page. Memory is bounded by `limits` whatever a file unpacks to; its bytes are never trusted, and no
name in it is a path.
"""
