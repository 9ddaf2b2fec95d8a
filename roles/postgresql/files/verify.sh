# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# Writes and reads each database as its owner; a temporary table leaves nothing behind.
set -eu
for database in $POSTGRESQL_DATABASES; do
  sum=$(psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$database" -c 'CREATE TEMPORARY TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000); SELECT sum(x) FROM t')
  [ "$sum" = 500500 ] || { echo "$database: the sum of 1..1000 came back as $sum" >&2; exit 1; }
  echo "$database: reads and writes at $PGHOST:$PGPORT, server $(psql -X -q -A -t -d "$database" -c 'SHOW server_version')"
done
