-- Two databases on one server, each owned by a role of its own; run once, by the image, on an empty volume.
-- Chandler makes its own tables, and TimescaleDB's extension in its database: the owner may.
\set airflow_password `cat "$SECRETS/airflow_password"`
\set warehouse_password `cat "$SECRETS/warehouse_password"`
\set grafana_password `cat "$SECRETS/grafana_password"`

CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE warehouse LOGIN PASSWORD :'warehouse_password';
CREATE ROLE grafana LOGIN PASSWORD :'grafana_password';

-- Of template0: the image puts TimescaleDB into the other, for whoever is made of that.
CREATE DATABASE airflow OWNER airflow TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE warehouse OWNER warehouse TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT, TEMPORARY ON DATABASE airflow, warehouse FROM PUBLIC;
GRANT CONNECT ON DATABASE warehouse TO grafana;

\connect warehouse
-- Dashboards look, and do nothing else.
GRANT USAGE ON SCHEMA public TO grafana;
ALTER DEFAULT PRIVILEGES FOR ROLE warehouse IN SCHEMA public GRANT SELECT ON TABLES TO grafana;
ALTER ROLE grafana IN DATABASE warehouse SET default_transaction_read_only = on;
ALTER ROLE grafana IN DATABASE warehouse SET statement_timeout = '30s';
