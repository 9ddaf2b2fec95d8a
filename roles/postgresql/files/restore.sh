#!/bin/sh
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Replaces the content of database $PGDATABASE by the dump $DUMP_DIRECTORY/$DUMP_FILE, all in one transaction: at any error the
# database stays as it was. The schema is dropped first, so that tables which the dump does not know do not stay behind.
set -eu
file="$DUMP_DIRECTORY/$DUMP_FILE"
pg_restore --list "$file" > /dev/null
{
  echo "BEGIN; SET LOCAL lock_timeout = '120s';"
  echo 'DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;'
  # A dump that breaks off must neither be committed nor pass for a success.
  pg_restore --no-owner --no-privileges -f - "$file" && echo 'COMMIT;' || echo "DO 'BEGIN RAISE EXCEPTION ''the dump is incomplete, nothing was changed''; END';"
} | psql -q -X -v ON_ERROR_STOP=1 -o /dev/null
tables=$(psql -X -A -t -v ON_ERROR_STOP=1 -c "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
echo "$PGDATABASE: $tables tables restored from $DUMP_FILE"
