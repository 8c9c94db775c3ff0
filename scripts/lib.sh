# Shared by the scripts here: where things are, and how to say what is going on.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything the scripts make outside cargo's target folder; delete it to start afresh.
work=${ORIEL_WORK:-$root/.demo}
programs=$work/programs
data_root=$work/data
bin=${CARGO_TARGET_DIR:-$root/target}/release

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "this needs root: it makes namespaces, mounts and network links"
command -v cargo >/dev/null || die "cargo is not in PATH: install Rust 1.95 or newer, see https://rustup.rs"
