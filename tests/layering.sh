#!/usr/bin/env bash
# Checks which folder includes what (CONTRIBUTING.md, "Layers"), and that every heavy dependency
# stays in its home. Prints each offending line. Usage: tests/layering.sh [root]
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

mapfile -t files < <(find io graph model nodes apps tests bench -name '*.h' -o -name '*.cpp' | sort)
status=0

# complain RULE: the offending "file:line:text" lines, if any, arrive on stdin.
complain() {
  local lines
  lines=$(cat)
  [[ -z $lines ]] && return
  printf '%s\n%s\n\n' "$1:" "$lines"
  status=1
}

# layer FOLDER "MAY INCLUDE": quoted includes are rooted and name only these folders.
layer() {
  local inside=() file
  for file in "${files[@]}"; do [[ $file == $1/* ]] && inside+=("$file"); done
  ((${#inside[@]})) || return 0
  complain "$1 may include only: $2" < <(
    grep -nH '^ *# *include *"' "${inside[@]}" | grep -vE "include *\"(${2// /|})/" || true)
}
layer io "io"
layer graph "graph io"
layer model "model io"
layer nodes "nodes graph model io"
layer apps "apps nodes graph model io"
# room FOLDER "MAY INCLUDE": the same within a layer, whose rooms are named without it. What rooms of
# nodes/ hand to each other (artifacts.h) and the archive forms of it are everybody's, and so is what a
# verb is (apps/cli.h).
room() {
  local top=${1%%/*} inside=() file
  for file in "${files[@]}"; do [[ $file == $1/* ]] && inside+=("$file"); done
  ((${#inside[@]})) || return 0
  complain "$1 may include of $top/ only: ${1#*/} $2" < <(
    grep -nH "^ *# *include *\"$top/" "${inside[@]}" |
      grep -vE "include *\"$top/(${1#*/}|${2// /|})/|include *\"(nodes/([a-z]+/artifacts|tensor_archive)|apps/cli)\.h\"" || true)
}
room graph/language "-"
room graph/store "language"
room graph/kind "language store"
room graph/plan "language store kind"
room graph/run "language store kind plan"
room graph/view "language store kind plan run"
room graph/crew "language store kind plan run"
room nodes/solver "-"
room nodes/data "-"
room nodes/states "data"
room nodes/train "data states"
room nodes/measure "data states train"
room nodes/cost "data"
room nodes/search "data measure cost solver"
room nodes/precision "data states measure search solver"
room apps/machine "-"
room apps/frame "machine"
room apps/graphs "frame"
room apps/running "frame graphs"
room apps/models "frame"
room apps/start "frame machine models"
room apps/report "frame"
room apps/shell "frame"

layer tests/io "tests io"
layer tests/graph "tests graph io"
layer tests/model "tests model io"
layer tests/interop "tests model io"
layer tests/fuzz "tests nodes graph model io"
layer tests/nodes "tests nodes graph model io"
layer tests/apps "tests apps nodes graph model io"
layer tests/bench "tests bench nodes graph model io"
layer bench "bench apps nodes graph model io"

# home "HEADERS" "FILES": angled includes of these headers appear only in these files.
home() {
  complain "<$1...> belongs to: $2" < <(
    grep -nHE "^ *# *include *<($1)" "${files[@]}" | grep -vE "^($2):" || true)
}
home 'oneapi/tbb|tbb/' 'graph/run/executor\.cpp'
home 'hdf5|H5' '(tests/)?io/hdf5_[^/]*\.(h|cpp)'
home 'Cbc|Cgl|Clp|Coin|Osi' 'nodes/solver/mip_cbc_module\.cpp'
home 'openssl/' 'io/fingerprint\.cpp'
home 'oniguruma' 'io/regex\.cpp'
home 'utf8proc' 'io/unicode_nfc\.cpp'
home 'sentencepiece' 'tests/io/[^/]*\.cpp'
home 'CLI/' 'apps/.*\.cpp|bench/simulate/simulate\.cpp'
home 'oneapi/dnnl' 'model/math/product\.cpp'
home 'torch/|ATen/|c10/' \
  '(tests/)?(model|nodes)/.*|bench/[^/]*|apps/(models/(model_commands|model_session|model_source|[a-z]*_command)|engine_main)\.cpp'
home 'torch/torch\.h' 'nobody: it costs every source seconds (model/pch.h)'
home 'nlohmann/json\.hpp' '.*\.cpp|nodes/[a-z]*/kinds\.h|tests/.*'

((status)) || echo "layering: ${#files[@]} files, no complaints"
exit $status
