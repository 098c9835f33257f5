"""docker-compose.yaml, read and checked: `python -m stack.compose check`, or `make compose-check`.

`file` reads it as Compose does; `checks` says what in it does not exist or is not as we want it; `commands` asks the
programs that it starts whether they would take their arguments. The tests start its services as processes.
"""
