#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the release preset and runs benchmarks against their peers.
#
#   tests/bench/run.sh              all benchmarks except memory_2g, which takes 15 GiB
#   tests/bench/run.sh NAME...      these; kernel_METHOD is one, kernels stands for every method's
#
# Each prints `bench NAME ours VALUE UNIT peer PEERNAME VALUE UNIT ratio R goal G ok|short`. Exits
# with 0 if every benchmark ran, short or not; if a peer is absent, it says that this one did not.
set -euo pipefail
cd "$(dirname "$0")/../.."

# name -> the program that runs it
declare -A program=(
  [adam_kernel]=adam_bench
  [adam_bandwidth]=adam_bench
  [small_step]=small_step_bench
  [small_streamed_step]=small_step_bench
  [digest_small]=digest_bench
  [digest_64m]=digest_bench
  [stream_64m]=stream_bench
  [memory_256m]=memory_bench
  [memory_2g]=memory_bench
  [kernels]=kernel_bench
  [noise]=noise_bench
  [es_update]=noise_bench
  [es_update_table]=noise_bench
  [es_update_low_rank]=noise_bench
  [spd_inverse_512]=linalg_bench
  [spd_inverse_1024]=linalg_bench
  [spd_inverse_2048]=linalg_bench
  [kfac_bytes]=kfac_bench
  [kfac_step_cost]=kfac_bench
  [kfac_no_stall]=kfac_bench
  [reduce_16]=rounds_bench
  [round_overhead]=fleet_bench
  [fleet_memory_async]=fleet_bench
  [fleet_memory_sync]=fleet_bench
  [ask_tell]=search_bench
  [es_traffic]=search_bench
  [sim_scale_synchronous]=rounds_bench
  [sim_scale_bounded]=rounds_bench
  [sim_scale_asynchronous]=rounds_bench
)
order=(adam_kernel adam_bandwidth small_step small_streamed_step digest_small digest_64m stream_64m
  memory_256m kernels noise es_update es_update_table es_update_low_rank
  spd_inverse_512 spd_inverse_1024 spd_inverse_2048 kfac_bytes
  kfac_step_cost kfac_no_stall reduce_16
  sim_scale_synchronous sim_scale_bounded sim_scale_asynchronous round_overhead fleet_memory_async
  fleet_memory_sync ask_tell es_traffic)

names=("$@")
((${#names[@]} > 0)) || names=("${order[@]}")
targets=()
for name in "${names[@]}"; do
  [[ $name != kernel_* ]] || program[$name]=kernel_bench
  if [[ -z ${program[$name]:-} ]]; then
    echo "run: no benchmark \"$name\"; there are: ${order[*]} memory_2g kernel_METHOD" >&2
    exit 2
  fi
  targets+=("${program[$name]}")
done

deploy/install-deps.sh >&2
cmake --preset release >/dev/null
cmake --build --preset release --target "${targets[@]}" >&2

expanded=()
for name in "${names[@]}"; do
  if [[ $name == kernels ]]; then
    mapfile -t methods < <(build/release/bin/kernel_bench list)
    for method in "${methods[@]}"; do program[$method]=kernel_bench; done
    expanded+=("${methods[@]}")
  else
    expanded+=("$name")
  fi
done

status=0
for name in "${expanded[@]}"; do
  binary=build/release/bin/${program[$name]}
  case "${program[$name]}" in
    adam_bench | linalg_bench | noise_bench) arguments=("$(tests/golden/torch_python.sh || true)" "$name") ;;
    digest_bench | fleet_bench | kernel_bench | memory_bench | rounds_bench | search_bench | \
      small_step_bench)
      arguments=("$name")
      ;;
    *) arguments=() ;;
  esac
  line=$("$binary" "${arguments[@]}") || status=1
  echo "$line"
  [[ $'\n'$line == *$'\n'"bench $name ours"* ]] || status=1
done
exit "$status"
