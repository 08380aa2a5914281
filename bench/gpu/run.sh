#!/usr/bin/env bash
# Everything that a GPU has to be asked, in ten minutes and unattended: builds against PyPI's libtorch,
# holds every operator against the CPU, trains and scores one layer of the shape of Llama-3.1-8B against
# the product rate measured beside it, and runs configs/demo.json on two lanes of one GPU. Leaves a
# table in out/gpu/report.md. No GPU has seen it yet: bench/README.md, "gpu".
# Usage: bench/gpu/run.sh [--no-install] [--libtorch pip|FOLDER] [--device cpu] [--build FOLDER]
#   --device cpu    a rehearsal without a GPU, small shapes, with Debian's libtorch unless told otherwise
#   --build FOLDER  what is built there already
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source .ci/setup

device=cuda:0
built=
given=()
while (($# > 0)); do
  case $1 in
    --device) device=${2:?--device: cpu or cuda:N}; shift ;;
    --build) built=${2:?--build: a folder}; shift ;;
    *) given+=("$1") ;;
  esac
  shift
done
[[ $device == cpu || $device == cuda:* ]] || die "--device $device: expected cpu or cuda:N"
[[ $device == cpu ]] || given=(--libtorch pip "${given[@]}")
take_arguments "${given[@]}"
((${#arguments[@]} == 0)) || die "what is ${arguments[*]}?"
if [[ $device != cpu ]]; then
  command -v nvidia-smi >/dev/null || die "no nvidia-smi: a rehearsal without a GPU is --device cpu"
fi

if [[ -n $built ]]; then
  build=$built
else
  install_packages
  build puzzle device_check
fi

out=out/gpu
rm -rf "$out"
mkdir -p "$out"
report=$out/report.md
shape=8b
smaller=()
if [[ $device == cpu ]]; then
  shape=small
  smaller=(--set parent.steps=20 --set student.steps=4 --set vars.budget=80% --set
    'vars.variants=["attn:kv1","attn:none","ffn:50%","ffn:none"]')
fi
failed=()
{
  echo "# bench/gpu/run.sh, $(date -u +%Y-%m-%d), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  echo
  if [[ $device == cpu ]]; then
    echo "A rehearsal on the CPU with small shapes. It says nothing about a GPU."
  else
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  fi
  echo
} >"$report"

step "operators, one layer ($device, $shape)"
"$build/device_check" "$device" "$shape" 2>&1 | tee "$out/device.log" || failed+=("device check")
cat "$out/device.log" >>"$report"

step "configs/demo.json on two lanes"
begin=$SECONDS
if timeout 400 "$build/puzzle" run configs/demo.json --store "$out/store" \
  --devices "$device,$device" "${smaller[@]}" >"$out/demo.log" 2>&1; then
  tail -n 1 "$out/demo.log"
else
  failed+=("demo: $(tail -n 1 "$out/demo.log")")
fi
{
  printf '\n## configs/demo.json on %s,%s: %d s\n\n' "$device" "$device" $((SECONDS - begin))
  echo '```'
  grep -E '^(model|parent|child|uniform) ' "$out/demo.log" || true
  tail -n 1 "$out/demo.log"
  echo '```'
} >>"$report"

echo
if ((${#failed[@]} > 0)); then
  printf 'failed: %s\n' "${failed[@]}" | tee -a "$report"
  exit 1
fi
echo "all as it should be; $report"
