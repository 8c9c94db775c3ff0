# Steps of a client's program, as steps.py has them for Python: each is a function, run by `step NAME`.
# shellcheck shell=bash
set -euo pipefail

clients=$ORIEL_TEST_CLIENTS
failed=0
trixie=$clients/trixie/usr
export PATH=$trixie/bin:$PATH DOCKER_BUILDKIT=0

# Trixie's Compose as a plugin of trixie's CLI, with a configuration of the program's own.
mkdir -p "$DOCKER_CONFIG/cli-plugins"
ln -sf "$trixie/libexec/docker/cli-plugins/docker-compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"

# Runs a step; what it printed is shown when it failed.
step() {
  local status=0
  set +e
  (set -e; "$1") >step.log 2>&1
  status=$?
  set -e
  if [ $status = 0 ]; then
    grep '^seen ' step.log || true
    echo "step $1: ok"
  else
    failed=1
    echo "step $1: FAILED with $status"
    cat step.log
  fi
}

# Docker's CLI past the recorder, for programs of other clients that look at what they did.
look() { docker -H "unix://$ORIEL_TEST_DAEMON" "$@"; }

seen() { echo "seen $1: $2"; }

# Ends the program with the verdict.
finish() { exit "$failed"; }

# Fails the step and says what was there.
fail() { echo "not as expected: $*" >&2; exit 1; }

# is EXPECTED ACTUAL: the same but for the ends of lines.
is() { local actual=${2//$'\r'/}; [ "$actual" = "$1" ] || fail "[$actual] instead of [$1]"; }

# has PART TEXT
has() { [[ $2 == *"$1"* ]] || fail "[$1] is not in [$2]"; }

# refused TEXT COMMAND...: the command fails and says so.
refused() {
  local text=$1 said; shift
  if said=$("$@" 2>&1); then fail "it was not refused: $*"; fi
  has "$text" "$said"
}

# until_true COMMAND...: within half a minute.
until_true() {
  local _
  for _ in $(seq 150); do if "$@" >/dev/null 2>&1; then return; fi; sleep 0.2; done
  fail "it did not come true: $*"
}

# Names and commands of the guests, by the daemon's system: the variables of guests.json.
os=$(look version --format '{{.Server.Os}}')
guest() { python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))[sys.argv[2]][sys.argv[3]]
print("\n".join(value) if isinstance(value, list) else value)' "$(dirname "${BASH_SOURCE[0]}")/guests.json" "$os" "$1"; }
image=$(guest image) folder=$(guest folder) idle=$(guest idle)
mapfile -t shell < <(guest shell)
