# Serves PostgreSQL; the first time it makes the database and the roles. Works in images with sh and PostgreSQL.
set -eu
for folder in /usr/lib/postgresql/*/bin; do PATH=$PATH:$folder; done
export PATH
data=/var/lib/postgresql/data
if [ ! -s $data/PG_VERSION ]; then
  rm -rf $data.new
  initdb --pgdata=$data.new --username=postgres --pwfile=/run/secrets/superuser --auth-local=trust \
    --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  echo 'hostssl all all all scram-sha-256' >>$data.new/pg_hba.conf
  pg_ctl --pgdata=$data.new --wait --options="-c listen_addresses='' -k /tmp" start
  psql --host=/tmp --username=postgres --set=ON_ERROR_STOP=1 --set=owner="$(cat /run/secrets/owner)" \
    --set=node="$(cat /run/secrets/node)" --set=gateway="$(cat /run/secrets/gateway)" --file=/setup/users.sql
  pg_ctl --pgdata=$data.new --wait stop
  mv $data.new $data
fi
exec postgres -D $data -c listen_addresses='*' -k /tmp -c ssl=on -c ssl_cert_file=/run/identity/server.pem \
  -c ssl_key_file=/run/identity/server.key -c ssl_min_protocol_version=TLSv1.3 -c max_connections=200
