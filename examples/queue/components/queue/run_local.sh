#!/usr/bin/env bash
# Runs the queue in a container on this machine, reachable at amqp://localhost, until it is told to end (Ctrl-C).
#   ./run_local.sh -t amqp:v1
#   ./run_local.sh -t amqp:v1 -p 5673    on another port of this machine
# QUEUE_NETWORK=… names another network than understudy-queue; workers that run_local.sh starts find the queue there.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

tag='' port=5672
while getopts t:p: flag; do
  case $flag in t) tag=$OPTARG ;; p) port=$OPTARG ;; *) usage ;; esac
done
[ -n "$tag" ] || usage
network
exec docker run --rm --init --network "$network" --network-alias amqp --publish "127.0.0.1:$port:5672" "$tag"
