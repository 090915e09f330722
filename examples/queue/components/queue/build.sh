#!/usr/bin/env bash
# Builds the queue's image, and pushes it when a registry is named.
#   ./build.sh -t amqp:v1
#   ./build.sh -t amqp:v1 -r registry.example:5000    … pushed as registry.example:5000/amqp:v1
# BASE=… names another base than debian:bookworm-slim.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../common.sh"

tag='' registry=''
while getopts t:r: flag; do
  case $flag in t) tag=$OPTARG ;; r) registry=$OPTARG ;; *) usage ;; esac
done
[ -n "$tag" ] || usage
build "$here" "$tag" "$registry" "${BASE:-}"
