#!/usr/bin/env bash
# Prints what each module adds to the gateway on arm v6: the sizes of its
# code and constants, in KiB, without the tables that the linker makes of them.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ${1:-} == --help ]]; then
  echo "usage: scripts/sizes.sh    (GOARCH and GOARM of the environment win; default arm, 6)"
  exit 0
fi

binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
CGO_ENABLED=0 GOOS=linux GOARCH=${GOARCH:-arm} GOARM=${GOARM:-6} go build -trimpath -o "$binary" ./cmd/gateway

# Symbol names begin with the import path; in a last path element dots are %2e.
go tool nm -size "$binary" | awk -v modules="$(go list -m -f '{{.Path}}' all | tr '\n' ' ')" '
BEGIN { n = split(modules, module, " ") }
$3 ~ /^[TtRr]$/ {
  name = $4; gsub(/%2e/, ".", name); sub(/^type:[^a-z]*|^go:[^a-z]*/, "", name)
  owner = "(standard library and runtime)"; longest = 0
  for (i = 1; i <= n; i++)
    if (index(name, module[i]) == 1 && length(module[i]) > longest) { owner = module[i]; longest = length(module[i]) }
  size[owner] += $2
}
END { for (o in size) printf "%8.0f KiB  %s\n", size[o] / 1024, o }' | sort -rn
