"""The market page's server side: who may come in, what is read, what is done, and the page itself.

`gate` asks who it is, `warehouse` holds the database open, `reading` and `acting` answer in JSON, `scraping` answers
Prometheus, `shell` gives the page and its modules, which lie in `static/`. What they answer is made in `etl`.
"""
