"""Makes the secrets of docker-compose.yaml: once, and the same from then on.

Each folder below SECRETS is a volume that only those containers see who need what is in it. What is there stays. What
is not is taken from the environment (`SECRET_ADMIN_PASSWORD` for `admin_password`), or made of 32 random bytes.
Addresses that hold a password are written anew each time. Nothing is ever printed.
"""

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

# Which containers' folders a secret lies in.
SECRETS: Mapping[str, tuple[str, ...]] = {
    "admin_password": ("airflow",),
    "fernet_key": ("airflow",),
    "jwt_secret": ("airflow",),
    "session_key": ("airflow",),
    "metrics_token": ("airflow", "prometheus"),
    "postgres_password": ("postgres",),
    "airflow_password": ("postgres",),
    "warehouse_password": ("postgres",),
    "grafana_password": ("postgres", "grafana"),
    "grafana_admin_password": ("grafana",),
    "redis_password": ("redis",),
}
_OURS = "airflow"  # the folder that only our own user reads; in others' containers other users do


def make_secrets(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Make what is missing below `root`, and return all by name.

    Raises:
        SystemExit: A file is empty; it says which, and what to do.
    """
    found = {name: _find(root, name, folders, environment) for name, folders in SECRETS.items()}
    for name, folders in SECRETS.items():
        for folder in folders:
            _write(root / folder / name, found[name])
    return found


def addresses(found: Mapping[str, str], postgres: str, redis: str) -> dict[str, str]:
    """Return the files that hold an address with a password in it, by where they lie.

    Args:
        postgres: Host and port of the server that has both databases.
        redis: Host and port.
    """
    password = {name: quote(value, safe="") for name, value in found.items()}
    metadata = f"postgresql+psycopg://airflow:{password['airflow_password']}@{postgres}/airflow"
    return {
        "airflow/metadata_url": metadata,
        "airflow/result_backend": f"db+{metadata}",
        "airflow/warehouse_url": f"postgresql://warehouse:{password['warehouse_password']}@{postgres}/warehouse",
        "airflow/broker_url": f"redis://:{password['redis_password']}@{redis}/0",
        # As Redis reads its settings; the rest stands in its command.
        "redis/redis.conf": f"requirepass {found['redis_password']}",
    }


def _find(root: Path, name: str, folders: tuple[str, ...], environment: Mapping[str, str]) -> str:
    for folder in folders:
        if (path := root / folder / name).exists():
            if text := path.read_text(encoding="utf-8").strip():
                return text
            remedy = f"put back what you kept of it, or `docker compose run --rm --no-deps secrets rm {path}`"
            raise SystemExit(f"{path} is empty: {remedy}, and start again, which makes another one")
    if given := environment.get(f"SECRET_{name.upper()}"):
        return given
    # URL-safe base64 of 32 bytes is what a Fernet key has to be, and does for all others.
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _write(path: Path, text: str) -> None:
    """Write the file, whole or not at all, unless it says so already."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    # One that a kill has left may be read-only, to us as well.
    temporary.unlink(missing_ok=True)
    with temporary.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        # A volume that only one container has mounted is closed enough, whoever the user is in it.
        os.fchmod(file.fileno(), 0o400 if path.parent.name == _OURS else 0o444)
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


if __name__ == "__main__":
    folder = Path(os.environ["SECRETS"])
    made = make_secrets(folder, os.environ)
    for place, text in addresses(made, os.environ["POSTGRES_ADDRESS"], os.environ["REDIS_ADDRESS"]).items():
        _write(folder / place, text)
