-- The role that Grafana reads the warehouse as, on a PostgreSQL of your own; docker-compose.yaml's makes it by itself.
--
--   GRAFANA_PASSWORD=... psql --set=owner=OWNER --file=deploy/grafana/role.sql WAREHOUSE
--
-- OWNER is who owns Chandler's tables: what they make later may be read, too. Run it again to change the password.
\set ON_ERROR_STOP on
\getenv password GRAFANA_PASSWORD
\if :{?reader}
\else
    \set reader grafana
\endif

SELECT format('CREATE ROLE %I', :'reader') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'reader') \gexec
ALTER ROLE :"reader" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'reader') \gexec
GRANT USAGE ON SCHEMA public TO :"reader";
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :"reader";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT ON TABLES TO :"reader";
-- Dashboards look, and do nothing else; what takes long is given up, so that no panel keeps the database busy.
SELECT format('ALTER ROLE %I IN DATABASE %I SET %s', :'reader', current_database(), setting)
FROM unnest(array[
    'default_transaction_read_only = on', 'statement_timeout = ''30s''', 'timezone = ''UTC'''
]) AS setting \gexec
