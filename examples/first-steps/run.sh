#!/bin/sh
# Teach ordinary logins; then a login from somewhere else is nothing, and a failure is.
set -eu
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
oddline=${ODDLINE:-oddline}
for user in alice bob chen dora emil; do
  echo "INFO: User '$user' logged in from IP 10.0.0.1"
done | "$oddline" learn - --set state.dir="$state"
"$oddline" check "INFO: User 'guest' logged in from IP 192.168.1.50" --set state.dir="$state"
"$oddline" check "CRITICAL: Failed to connect to primary database after 5 retries." --set state.dir="$state"
