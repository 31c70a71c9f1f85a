#!/usr/bin/env bash
# Shows that the tests of exactly once and of safe outputs can fail: each rule of testdata/rules.txt is
# taken out of a copy of the code, and its test has to notice. Some minutes.
#
#   scripts/rules.sh               all
#   scripts/rules.sh 'PUBREL'      those whose title matches
set -euo pipefail
cd "$(dirname "$0")/.."
exec go test -count=1 -timeout 30m -v -run '^TestEachRuleIsHeldByItsTest$' . -args -rules -only "${1-}"
