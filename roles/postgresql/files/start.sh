#!/bin/sh
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Entry point of the database container. Leaves either a complete cluster or none, and makes role, password and databases
# agree with the environment at every start. Only PostgreSQL's own tools; nothing secret on a command line.
set -eu
bin=/usr/lib/postgresql/$POSTGRESQL_MAJOR/bin
closed=/run/postgresql/closed  # a socket that probes do not know
conf=/etc/slipway/postgresql/postgresql.conf
export PGDATA=/data/pgdata

if [ ! -x "$bin/postgres" ]; then
  echo "slipway: this image has no PostgreSQL $POSTGRESQL_MAJOR below /usr/lib/postgresql; set postgresql_major_version to what the image holds." >&2
  exit 1
fi
if [ -s "$PGDATA/PG_VERSION" ] && [ "$(cat "$PGDATA/PG_VERSION")" != "$POSTGRESQL_MAJOR" ]; then
  echo "slipway: the data is of PostgreSQL $(cat "$PGDATA/PG_VERSION") and this is $POSTGRESQL_MAJOR. Go back to the old image, dump," \
    "move to a new claim, restore: docs/mlflow.md, 'Major upgrades'." >&2
  exit 1
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  rm -rf "$PGDATA.new"
  # The superuser has no password and is reached through the socket in this pod alone.
  "$bin/initdb" -D "$PGDATA.new" -U postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  printf 'local all all trust\nhost all postgres all reject\nhost all all all scram-sha-256\n' > "$PGDATA.new/pg_hba.conf"
  sync
  mv "$PGDATA.new" "$PGDATA"  # only a complete cluster gets the final name
fi
chmod 0700 "$PGDATA"  # fsGroup may have relaxed it to 2770, and the server then refuses to start

mkdir -p "$closed"
# Behind a closed door: listens on the socket only. Waits for as long as a recovery takes; the startup probe allows for it.
"$bin/pg_ctl" -s -w -t 3600 -o "-c config_file=$conf -c listen_addresses= -c unix_socket_directories=$closed" start
"$bin/psql" -q -X -v ON_ERROR_STOP=1 -h "$closed" -U postgres -d postgres <<'SQL'
\getenv name POSTGRESQL_USER
\getenv password POSTGRESQL_PASSWORD
\getenv databases POSTGRESQL_DATABASES
SET log_statement = 'none'; SET log_min_error_statement = 'panic';  -- the password is in the statement
SELECT format('CREATE ROLE %I LOGIN', :'name') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') \gexec
ALTER ROLE :"name" PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', d, :'name') FROM string_to_table(:'databases', ' ') AS d
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = d) \gexec
SQL
"$bin/pg_ctl" -s -w -t 600 -m fast stop

unset POSTGRESQL_PASSWORD
exec "$bin/postgres" -D "$PGDATA" -c config_file=$conf
