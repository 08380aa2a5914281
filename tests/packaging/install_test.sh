#!/usr/bin/env bash
# Installs a build into a prefix of its own and works there: version, plan, a run, the manual page,
# completion, a program of docs/own_kind built against it; then the same from the .deb, unpacked.
# Usage: tests/packaging/install_test.sh BUILD SOURCES
set -euo pipefail
build=$(realpath "$1") sources=$(realpath "$2")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"

fail() {
  echo "install: $*" >&2
  exit 1
}
# says TEXT COMMAND...: the command succeeds and prints the text.
says() {
  local text=$1 output
  shift
  output=$("$@" 2>&1) || fail "$*: exit status $?: $output"
  [[ $output == *"$text"* ]] || fail "$*: no \"$text\" in: $output"
}
# works_in PREFIX: what a user does first.
works_in() {
  local puzzle=$1/bin/puzzle folder=$place/work
  rm -rf "$folder"
  mkdir "$folder"
  cd "$folder"
  says "puzzle 0." "$puzzle" --version
  says "86 steps" "$puzzle" plan "$1/share/puzzleflow/configs/demo.json"
  says "stories" "$puzzle" run "$1/share/puzzleflow/configs/demo.json" --until calibration
  says "1 HIT" "$puzzle" plan "$1/share/puzzleflow/configs/demo.json" --until stories
  # The parts of the program come from the prefix, not from the folder where it was built.
  LD_DEBUG=files "$puzzle" run "$1/share/puzzleflow/configs/demo.json" --only stories --force stories \
    2> loaded > /dev/null
  grep -q "calling init: $1/lib/puzzleflow/libpuzzle_hdf5.so" loaded ||
    fail "the module was not taken from $1"
  [[ -s $1/share/puzzleflow/configs/tasks/piqa.json && -s $1/share/doc/puzzleflow/copyright ]] ||
    fail "$1: files are missing"
  if command -v man > /dev/null && man --version > /dev/null 2>&1; then
    local warnings
    warnings=$(man --warnings -l "$1/share/man/man1/puzzle.1" 2>&1 > manual)
    [[ -z $warnings ]] || fail "the manual: $warnings"
    grep -q -- "--until STEP" manual || fail "the manual lacks --until"
  fi
  completes "$puzzle"
}
# completes PROGRAM: bash's completion, as bash calls it.
completes() {
  source "$sources/packaging/puzzle.bash"
  offered "$1 pl" "plan"
  offered "$1 run --dev" "--devices"
  printf '{"puzzle": 1, "nodes": {"text": {"kind": "synthetic_text"}}}' > g.json
  offered "$1 plan g.json --until t" "text"
  offered "$1 run g.json --set text.see" "text.seed="
}
# offered LINE WORD
offered() {
  COMP_LINE=$1 COMP_POINT=${#1}
  read -ra COMP_WORDS <<< "$1"
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
  compopt() { :; }
  _puzzle
  [[ " ${COMPREPLY[*]} " == *" $2 "* ]] || fail "\"$1\" offers ${COMPREPLY[*]:-nothing}, not $2"
}

cmake --install "$build" --prefix "$place/prefix" > installed
works_in "$place/prefix"

cmake -S "$sources/docs/own_kind" -B "$place/own" -DCMAKE_PREFIX_PATH="$place/prefix" \
  -DCMAKE_BUILD_TYPE=Release > own.log 2>&1 || fail "docs/own_kind: $(tail -20 own.log)"
cmake --build "$place/own" >> own.log 2>&1 || fail "docs/own_kind: $(tail -20 own.log)"
cd "$place/work"
cp "$place/prefix"/lib/puzzleflow/*.so "$place/own"  # a program of one's own brings the modules along
says "words" "$place/own/own_puzzle" run "$sources/docs/own_kind/graph.json"
says '"words"' "$place/own/own_puzzle" show words --json
says "Counts the words" "$place/own/own_puzzle" kinds word_count

if ! grep -q '^PUZZLE_LIBTORCH:PATH=$' "$build/CMakeCache.txt"; then
  echo "install: no .deb, which could not depend on a libtorch that is in no package"
  exit 0
fi
if ! command -v dpkg-shlibdeps > /dev/null || ! command -v cpack > /dev/null; then
  echo "install: no cpack or dpkg-shlibdeps, so no .deb"
  exit 0
fi
cd "$place"
cpack -G DEB -B "$place/deb" --config "$build/CPackConfig.cmake" > deb.log 2>&1 ||
  fail "cpack: $(tail -20 deb.log)"
package=$(ls "$place"/deb/*.deb)
says "Package: puzzleflow" dpkg-deb -I "$package"
for library in libtbb12 libhdf5 coinor-libcbc libtorch libopenblas0-pthread libc6; do
  says "$library" dpkg-deb -f "$package" Depends
done
dpkg-deb -x "$package" "$place/root"
works_in "$place/root/usr"
echo "install: all of it works"
