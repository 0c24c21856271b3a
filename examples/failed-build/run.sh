#!/bin/sh
# A failed build of Apache Commons Codec against the last good one (labri-progress/cidiff, Apache-2.0).
set -eu
data=${ODDLINE_DATA:?names the folder with the logs}/cidiff-build-logs
"${ODDLINE:-oddline}" scan --baseline "$data/commonscodec_2463.pass.log.gz" "$data/commonscodec_2463.fail.log.gz" --min-level low --format json |
  sed -E 's/^\{"line":([0-9]+),.*"level":"([a-z]+)".*"rule":"([A-Z_0-9]+)".*/\1 \2 \3/; s/^\{"line":([0-9]+),.*"level":"([a-z]+)".*/\1 \2 -/'
