#!/bin/sh
# Starts Caddy in front of the UI. It serves without a login, and without encryption, on loopback alone.
set -eu

: "${UI_ADDRESS:=127.0.0.1}" "${UI_NAME:=}" "${UI_PORT:=3000}" "${UI_USER:=jgpt}" "${UI_PASSWORD_HASH:=}"

case "$UI_ADDRESS" in
127.0.0.1 | ::1 | "[::1]" | localhost) UI_SCHEME=http ;;
*) UI_SCHEME=https ;;
esac

UI_LOGIN=login
if [ -z "$UI_PASSWORD_HASH" ]; then
	UI_LOGIN=no_login
	if [ "$UI_SCHEME" = https ]; then
		echo "UI_ADDRESS=$UI_ADDRESS is not loopback, so the UI needs a login. Make a password's hash with" >&2
		echo "  docker compose run --rm --no-deps --entrypoint caddy proxy hash-password" >&2
		echo "and set UI_PASSWORD_HASH='…' in .env, in single quotes." >&2
		exit 64
	fi
fi

if [ "$UI_SCHEME" = https ]; then
	UI_NAME=${UI_NAME:-$UI_ADDRESS}
	case "$UI_NAME" in
	0.0.0.0 | :: | "[::]" | *[!A-Za-z0-9._-]*)
		echo "Set UI_NAME in .env to the host name, or the address, under which browsers reach the UI." >&2
		exit 64
		;;
	esac
	UI_SITE="https://$UI_NAME:$UI_PORT"
else
	UI_NAME=localhost
	UI_SITE="http://:$UI_PORT"
fi

export UI_NAME UI_SITE UI_SCHEME UI_USER UI_PASSWORD_HASH UI_LOGIN
exec caddy run --adapter caddyfile --config "$(dirname "$0")/Caddyfile"
