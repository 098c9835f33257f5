-- Two databases on one server, each owned by a role of its own; run once, by the image, on an empty volume.
-- Chandler makes its own tables, and TimescaleDB's extension in its database: the owner may.
\set airflow_password `cat "$SECRETS/airflow_password"`
\set warehouse_password `cat "$SECRETS/warehouse_password"`
\set grafana_password `cat "$SECRETS/grafana_password"`

CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE warehouse LOGIN PASSWORD :'warehouse_password';

-- Of template0: the image puts TimescaleDB into the other, for whoever is made of that.
CREATE DATABASE airflow OWNER airflow TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE warehouse OWNER warehouse TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT, TEMPORARY ON DATABASE airflow, warehouse FROM PUBLIC;

-- Grafana's role; its tables are yet to come.
\connect warehouse
\set owner warehouse
\setenv GRAFANA_PASSWORD :grafana_password
\ir ../grafana/role.sql
