#!/bin/sh
# Four requests, two of them too slow; the slower one is the odder one.
set -eu
oddline=${ODDLINE:-oddline}
built=$(dirname "$0")/target/wasm32-unknown-unknown/release/slow_requests.wasm
"$oddline" detectors check "${ODDLINE_EXAMPLE_DETECTOR:-$built}" --option limit_ms=500 - <<'LOG'
{"message":"GET /cart","duration_ms":31}
{"message":"GET /checkout","duration_ms":640}
{"message":"GET /search","duration_ms":"12000"}
GET /health
LOG
