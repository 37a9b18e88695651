#!/bin/sh
# Makes what is secret where it is not there yet: a password each for PostgreSQL and Grafana, the records' URL, and
# Prometheus' key. Each file belongs to the user that reads it, by number, as its container has it.
set -eu
umask 022
secrets=${SECRETS:-/secrets}

random() {
	od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

# give FILE OWNER: the text on standard input, whole or not at all, readable by its owner alone
give() {
	rm -f "$1.new"
	(umask 077 && cat >"$1.new")
	chown "$2" "$1.new"
	mv "$1.new" "$1"
}

if [ ! -e "$secrets/postgres/password" ]; then
	password=$(random)
	printf 'postgresql://evenvoice:%s@postgres/evenvoice' "$password" |
		give "$secrets/gateway/evenvoice_records" 10001:10001
	printf %s "$password" | give "$secrets/postgres/password" 999:999
	echo "setup: made the password of PostgreSQL"
fi
if [ ! -e "$secrets/prometheus/evenvoice.key" ]; then
	key=$(evenvoice keys add --file "$secrets/gateway/keys.json" --role metrics --name Prometheus)
	chown 10001:10001 "$secrets/gateway/keys.json"
	printf %s "$key" | give "$secrets/prometheus/evenvoice.key" 65534:65534
	echo "setup: made Prometheus' key"
fi
if [ ! -e "$secrets/grafana/password" ]; then
	random | give "$secrets/grafana/password" 472:0
	echo "setup: made the password of Grafana's user admin"
fi
# a new volume is root's; keys are added later by the gateway's user, and audits are written by it
chown 10001:10001 "$secrets/gateway" "${AUDITS:-/audits}"
