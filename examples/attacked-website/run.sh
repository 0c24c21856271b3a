#!/bin/sh
# A scan by a web vulnerability scanner against an ordinary access log; counted by rule.
set -eu
data=${ODDLINE_DATA:?names the folder with the logs}/web-access
"${ODDLINE:-oddline}" scan --baseline "$data/elastic_apache_logs_unlabelled.log.gz" "$data/attack_acunetix.log.gz" --min-level medium --format json |
  sed -E 's/^\{"line":([0-9]+),.*"level":"([a-z]+)".*"rule":"([A-Z_0-9]+)".*/\1 \2 \3/; s/^\{"line":([0-9]+),.*"level":"([a-z]+)".*/\1 \2 -/' |
  cut -d' ' -f2,3 | sort | uniq -c | sed -E 's/^ +//' | sort -k1,1nr -k2
