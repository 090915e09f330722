#!/usr/bin/env bash
# Builds the image of workers, and pushes it when a registry is named.
#   ./build.sh -t worker:v1
#   ./build.sh -t worker:v1 -r registry.example:5000    … pushed as registry.example:5000/worker:v1
# BASE=… names another base than understudy:local, which `docker-compose build` at the project's root makes.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/../common.sh"

tag='' registry=''
while getopts t:r: flag; do
  case $flag in t) tag=$OPTARG ;; r) registry=$OPTARG ;; *) usage ;; esac
done
[ -n "$tag" ] || usage
build "$here" "$tag" "$registry" "${BASE:-}"
