#!/usr/bin/env bash
# Has Marathon run workers, as worker-app.json says.
#   ./deploy.sh -m 10.0.0.10:8080 -t worker:v1 -q myqueue
#   ./deploy.sh -n -m 10.0.0.10:8080 -t worker:v1 -q myqueue    only prints what it would post
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../common.sh"

marathon='' tag='' queue=myqueue dry=''
while getopts nm:t:q: flag; do
  case $flag in n) dry=1 ;; m) marathon=$OPTARG ;; t) tag=$OPTARG ;; q) queue=$OPTARG ;; *) usage ;; esac
done
if [ -z "$marathon" ] || [ -z "$tag" ]; then usage; fi
plain -m "$marathon"
plain -t "$tag"
plain -q "$queue"

json="$(sed "s|{{HOST_PORT}}|$marathon|g; s|{{TAG}}|$tag|g; s|{{QUEUE}}|$queue|g" "$here/worker-app.json")"
[ -z "$dry" ] || { echo "$json"; exit; }
deploy "$marathon" "$json"
