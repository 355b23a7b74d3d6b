#!/usr/bin/env bash
# Trains on a machine that is lent for minutes. Each call does one phase for at most MINUTES and goes on from what the call before left in RUN:
#
#   bash benchmarks/lent_gpu.sh trunk|decay|tune|export|measure DATA...
#
# RUN      folder of the run; it has to outlive a call, so it is not in the checkout (/tmp/run)
# OUT      folder whose files come back, each of at most 16 MiB (out)
# MINUTES  of one call (8)        DEVICE   (cuda)
# FAMILY   aec1 or aec2 (aec1)    OBJECTIVE  psnr or visual (that of START, or psnr)
# NETWORK  base or large (base)   BATCH    patches of 256x256 a step (128)
# START    a weights file that the trunk begins with instead: what fits through a door that checkpoints do not
# STEPS    of decay and tune (20000): from the patches per second that trunk printed
#
# For 30 minutes: trunk, decay in two calls, tune for 2 minutes, then export and measure.
set -euo pipefail
phase=$1
shift
run=${RUN:-/tmp/run} out=${OUT:-out} device=${DEVICE:-cuda}
mkdir -p "$out"
export TORCHINDUCTOR_CACHE_DIR=$run/compiled
train=(python3 -m aecodec train "$@" -o "$run" --device "$device" --minutes "${MINUTES:-8}")
case $phase in
  trunk)
    "${train[@]}" --family "${FAMILY:-aec1}" ${OBJECTIVE:+--objective "$OBJECTIVE"} --network "${NETWORK:-base}" ${START:+--start "$START"} \
      --batch "${BATCH:-128}" --patch 256
    ;;
  decay) "${train[@]}" --decay "${STEPS:-20000}" ;;
  tune) "${train[@]}" --tune "${STEPS:-20000}" ;;
  export)
    python3 -m aecodec export "$run/tune.pt" "$@" -o "$run/model.safetensors"
    split --bytes 15M "$run/model.safetensors" "$out/model.safetensors." # cat out/model.safetensors.* puts it together
    ;;
  measure)
    python3 -m pytest -q tests/test_conformance.py
    python3 benchmarks/speed.py --device "$device" --model "$run/model.safetensors" --output "$out/speed.json"
    ;;
  *)
    echo "no phase is called $phase" >&2
    exit 2
    ;;
esac
find "$run" -name "log.jsonl" -exec cp {} "$out" ";" # none before the first report
