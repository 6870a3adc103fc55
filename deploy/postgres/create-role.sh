#!/bin/sh
# Runs once, when the database directory is new: Dagster gets a role that owns its database and is no superuser. The
# superuser `postgres` loses its password, so that it can connect only inside the container.
set -eu

psql --quiet --set ON_ERROR_STOP=1 --username postgres --set password="$DAGSTER_PASSWORD" <<'SQL'
CREATE ROLE dagster LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
CREATE DATABASE dagster OWNER dagster;
REVOKE ALL ON DATABASE dagster FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
ALTER ROLE postgres PASSWORD NULL;
SQL
