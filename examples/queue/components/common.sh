# What the control scripts of both components share; each sources it.

# Prints the head of the script that asks, and ends.
usage() {
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}

# A word that goes into a command or into JSON may have nothing in it that means something there.
plain() { # what it is, the word
  [[ $2 =~ ^[A-Za-z0-9][A-Za-z0-9._:/@-]*$ ]] || { echo "$1 $2: letters, digits and . _ : / @ - only" >&2; exit 2; }
}

build() { # folder, tag, registry or nothing, base or nothing
  docker build --tag "$2" ${4:+--build-arg "BASE=$4"} "$1"
  [ -n "$3" ] || return 0
  docker tag "$2" "$3/$2"
  docker push "$3/$2"
}

# To Marathon: a new application, or the next version of one that is there.
deploy() { # HOST:PORT, JSON
  local id answer
  id="$(sed -n 's/^  "id": "\(.*\)",$/\1/p' <<<"$2")"
  answer="$(send POST "http://$1/v2/apps" "$2")"
  [ "${answer##*$'\n'}" != 409 ] || answer="$(send PUT "http://$1/v2/apps/$id" "$2")"
  case "${answer##*$'\n'}" in
    2??) echo "$id is deployed" ;;
    *) echo "the Marathon at $1 answered: ${answer:0:1000}" >&2; return 1 ;;
  esac
}

# Prints the answer and, in a line of its own, its status.
send() { # method, address, JSON
  curl --silent --show-error --noproxy '*' --max-time 30 --write-out '\n%{http_code}' \
    --request "$1" --header 'Content-Type: application/json' --data-binary "$3" "$2"
}

# The network on which local containers find each other by name; sets `network`.
network() {
  network="${QUEUE_NETWORK:-understudy-queue}"
  docker network inspect "$network" >/dev/null 2>&1 || docker network create "$network" >/dev/null
}
