#!/usr/bin/env bash
# Takes messages from a queue and gives each to a script, on its standard input, until it is told to end.
#   cluster_worker.sh -q myqueue SCRIPT                       from amqp://localhost
#   cluster_worker.sh -u amqp://HOST -q myqueue SCRIPT        from another server
#   cluster_worker.sh -m HOST:PORT -a amqp -q myqueue SCRIPT  from where Marathon runs the application amqp
# Exit code 0 of the script acknowledges the message; when it has failed for good, the message goes to the queue QUEUE.failed.
#
# It is a node of one, which runs the script, and a bridge, which feeds it. As many of them as you like share a queue. One
# cluster for all instead, as in docker-compose.yml, runs no message with a message-id on two workers.
set -euo pipefail

url=amqp://localhost marathon='' app='' queue=''
usage() { sed -n '2,6p' "$0" | cut -c3- >&2; exit 2; }
while getopts u:m:a:q: flag; do
  case $flag in
    u) url=$OPTARG ;;
    m) marathon=$OPTARG ;;
    a) app=$OPTARG ;;
    q) queue=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
if [ $# != 1 ] || [ -z "$queue" ] || [ "${marathon:+1}" != "${app:+1}" ]; then usage; fi
script=$1
[ -x "$script" ] || { echo "$script is no program" >&2; exit 2; }

at=(--url "$url")
[ -z "$marathon" ] || at+=(--discover "marathon://$marathon/$app")
class="$(basename "$script")"
understudy master --script "$script" --class "$class" &
node=$!
understudy bridge amqp "${at[@]}" --queue "$queue" --dead "$queue.failed" --class "$class" &
bridge=$!

# Told to end: the bridge finishes what it holds, for ten seconds, and the node has nothing left then.
told=''
trap 'told=1; kill "$bridge" 2>/dev/null || true' TERM INT
code=0
wait -n "$node" "$bridge" || code=$?
if [ -n "$told" ]; then
  code=0
  wait "$bridge" || code=$?
else
  # One without the other is of no use: whoever started this starts it again.
  [ $code != 0 ] || code=1
fi
trap '' TERM INT
kill "$bridge" "$node" 2>/dev/null || true
wait
exit $code
