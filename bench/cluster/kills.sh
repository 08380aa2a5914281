#!/usr/bin/env bash
# Kills whatever takes part in runs on Slurm, at random moments, and looks whether anything is lost.
#   bench/cluster/kills.sh TOY_PUZZLE FIXTURE KILLS
# TOY_PUZZLE: the program of tests/apps; FIXTURE: the folder of a Slurm of two nodes n1 and n2 that
# SLURM_CONF describes, with run/NAME.pid of slurmctld, slurmd-n1 and slurmd-n2, as
# tests/apps/slurm_test.cpp brings it up. A round is a run that is started again until it is through;
# while it runs a worker, a node daemon, the controller or the front is killed every now and then. Exit
# status 1: a result was wrong or a store damaged.
set -u
toy=$(realpath "$1"); fixture=$(realpath "$2"); kills=$3
export SLURM_CONF=$fixture/slurm.conf
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
cat > g.json <<'G'
{"puzzle": 1, "vars": {"n": {"range": [0, 40]}}, "nodes": {
  "s": {"kind": "sleep", "foreach": {"i": "${n}"}, "params": {"value": "s${i}", "ms": 60}},
  "all": {"kind": "concat", "in": {"parts": ["s"]}}}}
G
wanted=$("$toy" run g.json --store right -q --summary right.json >/dev/null; grep -o '"text": *"[^"]*"' right.json | tail -1)
[[ -n $wanted && $kills =~ ^[1-9][0-9]*$ ]] || { echo "kills.sh: $toy has no result, or KILLS is no number" >&2; exit 2; }

# workers: processes of this round that are no front
pids() { pgrep -f -- "^$toy run g.json .*--worker" || true; }
declare -A count=()
done_kills=0 rounds=0 computed=0 twice=0 wrong=0 damaged=0 starts=0
while ((done_kills < kills)); do
  ((rounds++)); rm -rf store; : > all.out
  for attempt in $(seq 30); do
    ((starts++))
    "$toy" run g.json --on slurm --devices cpu -- -N 2 --ntasks-per-node=2 --immediate=30 > out 2>&1 & front=$!
    # only while steps are being computed
    for i in $(seq 100); do grep -q '^start ' out && break; kill -0 $front 2>/dev/null || break; sleep .05; done
    while kill -0 $front 2>/dev/null && ((done_kills < kills)); do
      sleep 0.$((RANDOM % 5 + 1))
      kill -0 $front 2>/dev/null || break
      case $((RANDOM % 10)) in
        [0-6]) what=worker; pid=$(pids | shuf -n 1) ;;
        7) what=node; n=n$((RANDOM % 2 + 1)); pid=$(cat "$fixture/run/slurmd-$n.pid") ;;
        8) what=controller; pid=$(cat "$fixture/run/slurmctld.pid") ;;
        9) what=front; pid=$front ;;
      esac
      [[ -n $pid ]] && kill -9 "$pid" 2>/dev/null || continue
      ((done_kills++)); count[$what]=$((${count[$what]:-0} + 1))
      [[ $what == node ]] && { sleep .2; slurmd -N "$n"; }
      [[ $what == controller ]] && { sleep .2; slurmctld; }
      [[ $what == front ]] && break
    done
    wait $front 2>/dev/null; status=$?
    cat out >> all.out
    for i in $(seq 100); do [[ -z $(pids) ]] && break; sleep .1; done
    scancel --quiet --user="$(id -u)" 2>/dev/null
    ((status == 0)) && break
  done
  ((computed += $(grep -c '^done ' all.out)))
  ((twice += $(grep -c 'was computed by' all.out)))
  "$toy" run g.json -q --summary end.json > last.out 2>&1
  [[ $(grep -o '"text": *"[^"]*"' end.json | tail -1) == "$wanted" ]] || { ((wrong++)); cp all.out /tmp/wrong.$rounds.out; }
  "$toy" cache verify > /dev/null 2>&1 || ((damaged++))
  [[ -z $(ls store/tmp) ]] || ls store/tmp | sed 's/^/left: /'
done
for what in "${!count[@]}"; do echo "kills of a $what: ${count[$what]}"; done
echo "kills $done_kills, rounds $rounds of 41 steps in $starts runs: $computed computations seen," \
  "$twice steps computed twice at once, $wrong wrong results, $damaged damaged stores"
((wrong == 0 && damaged == 0))
