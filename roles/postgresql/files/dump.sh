#!/bin/sh
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Dumps each database named in POSTGRESQL_DATABASES that holds tables to $DUMP_DIRECTORY/<database>-<UTC time>-<label>.dump (custom format).
# A dump gets its name only when it is complete and readable. Connection by PG* from the environment.
set -eu
umask 077
stamp=$(date -u +%Y%m%dT%H%M%SZ)
for database in $POSTGRESQL_DATABASES; do
  if ! tables=$(psql -X -A -t -d "$database" -v ON_ERROR_STOP=1 \
    -c "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')" 2>&1); then
    case $tables in
      *"does not exist"*) echo "$database: not there, nothing to dump" && continue ;;
      *) echo "$tables" >&2 && exit 1 ;;
    esac
  fi
  if [ "$tables" = 0 ]; then
    echo "$database: no tables, nothing to dump"
    continue
  fi
  file="$DUMP_DIRECTORY/$database-$stamp-$DUMP_LABEL.dump"
  pg_dump -d "$database" -Fc -Z 6 --no-owner -f "$file.part"
  pg_restore --list "$file.part" > /dev/null
  sync
  mv "$file.part" "$file"
  echo "$database: $tables tables, $(wc -c < "$file") bytes in $(basename "$file")"
done
