"""Says by its exit status whether an address answers: what containers of our own are asked for their health with.

`healthy.py URL` wants an answer; `healthy.py URL triggerer` wants that part of Airflow's report to be healthy besides.
"""

import json
import sys
from urllib.request import ProxyHandler, build_opener

_TIMEOUT_S = 5.0


def main() -> None:
    """Ask, and end with status 1 and a line that says why if it is not well."""
    url, parts = sys.argv[1], sys.argv[2:]
    if not url.startswith("http://"):
        raise SystemExit(f"{url} is no address of a container")
    try:
        # Whatever proxy there is, this address is next door.
        with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT_S) as answer:
            report = json.loads(answer.read() or b"{}") if parts else {}
    except (OSError, ValueError) as error:
        raise SystemExit(f"{url}: {error}") from error
    for part in parts:
        if (status := (report.get(part) or {}).get("status")) != "healthy":
            raise SystemExit(f"{part} is {status}")


if __name__ == "__main__":
    main()
