"""Entry point of every container of our own: secrets come from files, then the command takes over.

A variable `NAME__FILE` names a file; what it holds becomes the variable `NAME`. So no secret stands in
docker-compose.yaml, nor where `docker inspect` would show it. (Grafana reads variables of this form by itself.)
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_SUFFIX = "__FILE"


def with_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with what the files hold.

    Raises:
        SystemExit: A file cannot be read; it says which, and of which variable.
    """
    found = {name: value for name, value in environment.items() if not name.endswith(_SUFFIX)}
    for name in environment.keys() - found.keys():
        try:
            found[name.removesuffix(_SUFFIX)] = Path(environment[name]).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SystemExit(f"{name} names a file that cannot be read ({error}); has `secrets` run?") from error
    return found


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("say what to run: airflow, chandler, python, ...")
    environment = with_secrets(os.environ)
    # Where the command is to be found is for the new environment to say, which may differ from ours.
    os.execvpe(sys.argv[1], sys.argv[1:], environment)  # noqa: S606  # a command of the image, no shell
