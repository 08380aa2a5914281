#!/usr/bin/env bash
# How much faster do two cpu lanes of one thread each train blocks than one such lane? Runs the BLD
# steps of graph.json in turn with one and two lanes and prints wall seconds and their ratio.
# Usage: bench/lanes/run.sh [ROUNDS]    (after ./check or cmake --build build)
set -euo pipefail
shopt -s inherit_errexit  # a run that failed has no time
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rounds=${1:-3}
if [[ $# -gt 1 || ! $rounds =~ ^[1-9][0-9]*$ ]]; then
  echo "bench/lanes/run.sh [ROUNDS]: expected a whole number from 1 on, not $*" >&2
  exit 2
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

build/puzzle --version

# What all trainings share is computed first and is no part of the figures.
build/puzzle run bench/lanes/graph.json --store "$scratch/prepared" --set 'vars.layers=[]' -q >/dev/null

# seconds DEVICES: wall time of the BLD steps in a fresh copy of the prepared store.
seconds() {
  rm -rf "$scratch/store"
  cp -r "$scratch/prepared" "$scratch/store"
  build/puzzle run bench/lanes/graph.json --store "$scratch/store" --devices "$1" \
    --threads-per-lane 1 --summary "$scratch/summary.json" -q >/dev/null
  sed -n 's/.*"wall_s": *\([0-9.]*\).*/\1/p' "$scratch/summary.json"
}

for ((round = 1; round <= rounds; ++round)); do
  one=$(seconds cpu)
  two=$(seconds cpu,cpu)
  awk -v one="$one" -v two="$two" -v round="$round" \
    'BEGIN { printf "round %d: one lane %.1f s, two lanes %.1f s, ratio %.2f\n", round, one, two, one / two }'
done
