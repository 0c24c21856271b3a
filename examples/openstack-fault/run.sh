#!/bin/sh
# A run with an injected fault against the same run without it (dessertlab/Fault-Injection-Dataset, AGPL-3.0).
set -eu
data=${ODDLINE_DATA:?names the folder with the logs}/openstack-fault-injection/runs
"${ODDLINE:-oddline}" scan --baseline "$data/Cinder_Test_109_r2.tsv.gz" "$data/Cinder_Test_109_r1.tsv.gz" --min-level high --format json |
  sed -E 's/^\{"line":([0-9]+),.*"level":"([a-z]+)".*"rule":"([A-Z_0-9]+)".*/\1 \2 \3/; s/^\{"line":([0-9]+),.*"level":"([a-z]+)".*/\1 \2 -/'
