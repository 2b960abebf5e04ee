#!/usr/bin/env bash
# What is asked of a GPU, entry by entry (docs/gpu.md says what each decides).
#
#   ./run.sh --out FOLDER [--device cuda:0] [--data IMAGES.h5 --steps N] [--rehearse] [ENTRY...]
#
# Entries: card same tests calls steps pytorch gradients training evaluation; all of them where none is named.
# FOLDER gets log.txt (everything), cost.jsonl (what was timed), table.txt (what is printed last). An entry that fails is
# told in the table, and the next one begins. --rehearse runs each on the CPU, for two steps.
set -u
here=$(dirname "$(readlink -f "$0")")
device=cuda:0 out= data= steps=300 rehearse= entries=()
fail() { echo "run.sh: $1" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    --out|--device|--data|--steps) [ $# -gt 1 ] || fail "$1 needs a value"; declare "${1#--}=$2"; shift 2 ;;
    --rehearse) rehearse=1 device=cpu; shift ;;
    card|same|tests|calls|steps|pytorch|gradients|training|evaluation) entries+=("$1"); shift ;;
    *) fail "$1 is no entry and no flag: card same tests calls steps pytorch gradients training evaluation, --out FOLDER, --device, --data, --steps, --rehearse" ;;
  esac
done
[ -n "$out" ] || fail "--out FOLDER is missing: the folder that everything is written to"
[ -z "$data" ] || [ -r "$data" ] || fail "--data $data cannot be read: name a file that \`eps data\` wrote"
[ ${#entries[@]} -gt 0 ] || entries=(card same tests calls steps pytorch gradients training evaluation)
mkdir -p "$out" || fail "the folder $out cannot be made"
out=$(readlink -f "$out"); [ -z "$data" ] || data=$(readlink -f "$data")
log=$out/log.txt cost=$out/cost.jsonl table=$out/table.txt; : >"$table"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$here"; export EPS_SOURCE=$here
for packed in *.gz; do
  [ ! -e "$packed" ] || gunzip -f "$packed" || fail "$packed cannot be unpacked in $here: is the folder writable?"
done
# A program is linked to the libraries in the package of Python's torch, which find CUDA's by themselves.
torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__), torch.__version__)' 2>/dev/null)
if [ -z "$rehearse" ]; then
  case "$torch" in
    *" 2.11."*) ;;
    "") fail "python3 has no torch: this pack is for torch 2.11 with CUDA, whose libraries it takes" ;;
    *) fail "python3 has torch ${torch##* }, and this pack is for 2.11: make one of another tch with cargo xtask gpu-pack" ;;
  esac
  export LD_LIBRARY_PATH=${torch% *}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
[ "$device" = cpu ] || export EPS_REQUIRE_CUDA=1
# Threads that wait in loops would take the cores of whatever else runs.
[ -z "$rehearse" ] || export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

say() { echo "$*" | tee -a "$table"; }
run() { echo "\$ $*" >>"$log"; "$@" >>"$log" 2>&1; }
# Full f32 products, in which a GPU differs from the CPU by rounding alone.
f32() { NVIDIA_TF32_OVERRIDE=0 "$@"; }

card() {
  say "machine: $(uname -m), $(env -u OMP_NUM_THREADS nproc) cores, load $(cut -d' ' -f1 /proc/loadavg), $(date -u +%F)"
  say "torch: ${torch##* }"
  [ "$device" = cpu ] && { say "card: none, a rehearsal on the CPU"; return; }
  say "card: $(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader)"
}

# One restoration on the device beside that on the CPU: with full products the same to rounding.
same() {
  local network=data/networks/fashion/all-tasks.safetensors calls=10
  [ -n "$rehearse" ] && calls=3
  run ./eps measure --dataset fashion-mnist --split test --index 0..4 --task random-inpainting --sigma-y 0.05 --out "$work/m.h5" || return 1
  local restore=(./eps restore --measurement "$work/m.h5" --network $network --samples 2 --calls $calls --precision f32)
  run "${restore[@]}" --device cpu --out "$work/cpu" || return 1
  f32 run "${restore[@]}" --device "$device" --out "$work/f32" || return 1
  run "${restore[@]}" --device "$device" --out "$work/tf32" || return 1
  local which
  for which in f32 tf32; do
    say "a restoration on $device ($which) and on the CPU: $(python3 - "$work/cpu/samples.h5" "$work/$which/samples.h5" 2>>"$log" <<'P' || echo "not compared: python3 has no h5py"
import sys
import h5py
a, b = (h5py.File(path)["samples"][:] for path in sys.argv[1:])
print(f"largest difference {abs(a - b).max():.1e}, rms {((a - b) ** 2).mean() ** 0.5:.1e}")
P
)"
  done
}

# What a test program found, and by how much the device differed.
tests() {
  local program which outcome=0
  local programs=(eps-model-operators eps-model-maps eps-model-networks eps-devices)
  [ -n "$rehearse" ] && programs=(eps-model-operators eps-model-maps eps-devices)
  for which in f32 tf32; do
    for program in "${programs[@]}"; do
      local found=$work/$program-$which
      if [ $which = f32 ]; then f32 "./$program" --nocapture --test-threads 1 >"$found" 2>&1; else "./$program" --nocapture --test-threads 1 >"$found" 2>&1; fi
      local code=$?; [ $code = 0 ] || outcome=1
      cat "$found" >>"$log"
      say "$program ($which): $(grep '^test result' "$found" | cut -c1-60 || echo "ended with $code")"
      grep '^cuda: ' "$found" | sort -t: -k3 -gr | head -n 3 | while read -r line; do say "  $line"; done
    done
    # Without a GPU there is no TF32.
    [ "$device" = cpu ] && break
  done
  return $outcome
}

# Lines of `eps-cost`, which are kept and make the table.
measure() { echo "\$ eps-cost $*" >>"$log"; ./eps-cost --device "$device" --go-on "$@" 2>>"$log" >>"$cost"; }

calls() {
  if [ -n "$rehearse" ]; then measure --group calls --size ffhq-64 --batch 1 --rounds 2; return; fi
  local size
  for size in ffhq-64 imagenet-64; do
    measure --group calls --size $size --batch 1,8,64 --precision f32,bf16,f16 --rounds 7 --repeat 3 || return 1
  done
}

steps() {
  if [ -n "$rehearse" ]; then measure --group steps,pivots --size fashion --batch 1 --rounds 2; return; fi
  measure --group steps,pivots --size ffhq-64 --batch 1,64 --precision bf16 --rounds 5
}

gradients() {
  if [ -n "$rehearse" ]; then measure --group gradients --size fashion --batch 1 --rounds 2; return; fi
  measure --group gradients --size ffhq-64,imagenet-64 --batch 64 --precision f32,bf16 --rounds 7
}

# The same network in PyTorch, on the same weights.
pytorch() {
  [ -n "$rehearse" ] && [ -z "$torch" ] && { say "PyTorch: not rehearsed, python3 has no torch"; return; }
  run ./eps model init edm-ffhq-64x64-uncond-vp "$work/ffhq.safetensors" || return 1
  local what=(--batch 1,8,64 --precision f32,bf16,f16 --rounds 7 --repeat 3 --compile)
  [ -n "$rehearse" ] && what=(--batch 1 --precision f32 --rounds 2)
  python3 ./pytorch.py "$work/ffhq.safetensors" --device "$device" "${what[@]}" 2>>"$log" >>"$cost"
}

# A training of the photographs' prior: what a step takes, on noise where --data names no images.
training() {
  local images=$data how=(--steps "$steps") precision=bf16
  [ -n "$rehearse" ] && how=(--check) precision=f32
  if [ -z "$images" ]; then
    python3 - "$work/pictures" <<'P' 2>>"$log" || return 1
import os, random, struct, sys, zlib
os.makedirs(sys.argv[1])
random.seed(0)
def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
for index in range(200):
    rows = b"".join(b"\0" + random.randbytes(3 * 64) for _ in range(64))
    with open(f"{sys.argv[1]}/{index}.png", "wb") as file:
        head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
P
    images=$work/noise.h5
    run ./eps data import "$work/pictures" "$images" --size 64 || return 1
  fi
  local start=$(date +%s%N)
  run ./eps train data/paper/photos-64/prior.json --data "$images" --out "$work/prior" --device "$device" --precision $precision "${how[@]}" || return 1
  local seconds=$(( ($(date +%s%N) - start) / 1000000 ))
  say "a training of photos-64's prior (${how[*]}, $precision): $seconds ms in all, last $(tail -n 1 "$work/prior/metrics.jsonl")"
  cp "$work/prior/metrics.jsonl" "$out/training.jsonl"
  if [ -n "$data" ]; then cp "$work/prior/prior.safetensors" "$out/" || return 1; fi
}

evaluation() {
  local what=(--images 100 --samples 4)
  [ -n "$rehearse" ] && what=(--images 1 --samples 1 --calls 2)
  run ./eps experiment main --profile smoke --network all --methods eps,pseudo-inverse --tasks random-inpainting,gaussian-blur \
    --precision f32 --device "$device" --out "$work/main" "${what[@]}" || return 1
  cp "$work/main/results.json" "$out/"
  say "an evaluation on Fashion-MNIST (${what[*]}): results.json"
}

for entry in "${entries[@]}"; do
  echo "== $entry" | tee -a "$log" >&2
  start=$(date +%s)
  "$entry" || say "FAILED: $entry; why is at its end in log.txt"
  say "($entry: $(( $(date +%s) - start )) s)"
done

# The costs as a table: milliseconds of a call, the median of the rounds, and the ratio to the first item of each group.
[ -s "$cost" ] && python3 - "$cost" <<'P' | tee -a "$table"
import json, statistics, sys
first = {}
for line in map(json.loads, open(sys.argv[1])):
    group = tuple(line[key] for key in ("group", "size", "batch", "precision"))
    if "error" in line:
        print(*group, line["item"], "FAILED:", line["error"][:120])
        continue
    base = first.setdefault(group, line["seconds"])
    ratios = sorted(a / b for a, b in zip(line["seconds"], base))
    median = statistics.median(line["seconds"])
    print(*group, f"{line['item']}: {1e3 * median:.2f} ms, {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")
P
echo "everything is in $out" >&2
! grep -q '^FAILED' "$table"
