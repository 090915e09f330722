#!/usr/bin/env bash
# Runs a worker in a container on this machine, until it is told to end (Ctrl-C). It takes messages from the queue that the
# queue's run_local.sh runs, as soon as that is there.
#   ./run_local.sh -t worker:v1 -q myqueue
#   ./run_local.sh -t worker:v1 -q myqueue -s /usr/local/bin/other    another script of scripts/
#   ./run_local.sh -t worker:v1 -q myqueue -u amqp://HOST             another server
# QUEUE_NETWORK=… names another network than understudy-queue.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

tag='' queue=myqueue script=/usr/local/bin/myaction url=amqp://amqp
while getopts t:q:s:u: flag; do
  case $flag in t) tag=$OPTARG ;; q) queue=$OPTARG ;; s) script=$OPTARG ;; u) url=$OPTARG ;; *) usage ;; esac
done
[ -n "$tag" ] || usage
network
exec docker run --rm --init --stop-timeout 30 --network "$network" "$tag" \
  cluster_worker.sh -u "$url" -q "$queue" "$script"
