#!/bin/sh
# Install the servers that tests start for themselves (PostgreSQL, Redis, RabbitMQ), and promtool,
# which tries the alert rules. Debian, as root.
set -eu
missing=""
[ -n "$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null)" ] || missing="$missing postgresql"
command -v redis-server >/dev/null || missing="$missing redis-server"
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
command -v promtool >/dev/null || missing="$missing prometheus"
[ -n "$missing" ] || exit 0
apt-get update -q
# shellcheck disable=SC2086 -- one word per package
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
