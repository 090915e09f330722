#!/usr/bin/env bash
# Has Marathon run the queue, as queue-app.json says.
#   ./deploy.sh -m 10.0.0.10:8080 -t amqp:v1
#   ./deploy.sh -n -m 10.0.0.10:8080 -t amqp:v1    only prints what it would post
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../common.sh"

marathon='' tag='' dry=''
while getopts nm:t: flag; do
  case $flag in n) dry=1 ;; m) marathon=$OPTARG ;; t) tag=$OPTARG ;; *) usage ;; esac
done
if [ -z "$marathon" ] || [ -z "$tag" ]; then usage; fi
plain -m "$marathon"
plain -t "$tag"

json="$(sed "s|{{TAG}}|$tag|g" "$here/queue-app.json")"
[ -z "$dry" ] || { echo "$json"; exit; }
deploy "$marathon" "$json"
