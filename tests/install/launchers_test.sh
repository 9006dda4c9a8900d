#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
#   tests/install/launchers_test.sh PYTHON TALWEG ADDRESS
#
# The launchers of deploy/ in the environments that Slurm and torchrun give their processes: each
# names its worker and its server as client/cpp/talweg/worker_name.h says, and becomes the command:
# `talweg step`, too, against the server at ADDRESS. And the files for Kubernetes are what they say.
set -euo pipefail
python=$1
talweg=$2
address=$3
deploy=$(cd "$(dirname "$0")/../../deploy" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
  echo "launchers_test: $1" >&2
  exit 1
}

# What Slurm brings: the nodes of a job, and tasks, here three of them on this machine.
cat >"$folder/scontrol" <<'SCRIPT'
#!/usr/bin/env bash
[[ "$*" == "show hostnames node[3-4]" ]] && printf 'node3\nnode4\n'
SCRIPT
cat >"$folder/srun" <<'SCRIPT'
#!/usr/bin/env bash
[[ $1 == --kill-on-bad-exit=0 ]] || exit 1
shift
for task in 0 1 2; do
  SLURM_STEP_ID=0 SLURM_PROCID=$task "$@"
done
SCRIPT
chmod +x "$folder/scontrol" "$folder/srun"

# shellcheck disable=SC2016  # the command's shell expands it
tell='echo "$TALWEG_WORKER $TALWEG_SERVER $#:$1:$2"'
# Runs a launcher with the assignments before `--`, the rest behind it; its output is in $output.
launch() {
  local launcher=$1 assignments=()
  shift
  while [[ $1 != -- ]]; do
    assignments+=("$1")
    shift
  done
  shift
  status=0
  output=$(env -i PATH="$folder:$PATH" ASAN_OPTIONS="${ASAN_OPTIONS-}" \
    LSAN_OPTIONS="${LSAN_OPTIONS-}" "${assignments[@]}" bash "$deploy/$launcher" "$@" 2>&1) || status=$?
}
# Wants that the launcher names the worker $2 at the server $3, in the environment behind them.
expect() {
  local launcher=$1 worker=$2 server=$3
  shift 3
  launch "$launcher" "$@" -- sh -c "$tell" command one "two words"
  ((status == 0)) || fail "$launcher with $* ended with $status: $output"
  [[ $output == "$worker $server 2:one:two words" ]] || fail "$launcher with $* says: $output"
  [[ $worker =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$ ]] || fail "no server takes the name $worker"
}
# Wants exit code $2, or any error if $2 is -, and the words $3.
refuse() {
  local launcher=$1 code=$2 words=$3
  shift 3
  launch "$launcher" "$@"
  ((status != 0)) || fail "$launcher with $* ended with 0: $output"
  [[ $code == - || $status == "$code" ]] || fail "$launcher with $* ended with $status: $output"
  [[ $output == *"$words"* ]] || fail "$launcher with $* does not say '$words': $output"
}

slurm=slurm/talweg-worker.sh
task=(SLURM_JOB_ID=812 SLURM_STEP_ID=0 SLURM_PROCID=3)
expect $slurm slurm-812-3 there:1234 "${task[@]}" TALWEG_SERVER=there:1234
expect $slurm slurm-812-3 node3:50551 "${task[@]}" "SLURM_JOB_NODELIST=node[3-4]"
expect $slurm slurm-812-3 node3:77 "${task[@]}" "SLURM_JOB_NODELIST=node[3-4]" TALWEG_PORT=77
# An older name in the environment is somebody else's.
expect $slurm slurm-812-3 there:1 "${task[@]}" TALWEG_SERVER=there:1 TALWEG_WORKER=submitter
refuse $slurm 2 "which command" "${task[@]}" --
refuse $slurm 2 "SLURM_JOB_ID is not set" TALWEG_SERVER=there:1 -- true
refuse $slurm - "SLURM_JOB_NODELIST" "${task[@]}" -- true
# The script of a job starts its tasks, from a copy that no other node has.
cp "$deploy/$slurm" "$folder/slurm_script"
copied=$(env -i PATH="$folder:$PATH" SLURM_JOB_ID=812 SLURM_PROCID=0 TALWEG_SERVER=there:1 \
  bash "$folder/slurm_script" sh -c "$tell" command one "two words")
[[ $copied == "slurm-812-0 there:1 2:one:two words
slurm-812-1 there:1 2:one:two words
slurm-812-2 there:1 2:one:two words" ]] || fail "the job's script says: $copied"

torchrun=torchrun/talweg-worker.sh
rank=(RANK=5 TORCHELASTIC_RUN_ID=night)
expect $torchrun night-5 there:1234 "${rank[@]}" TALWEG_SERVER=there:1234
expect $torchrun night-5 master:50551 "${rank[@]}" MASTER_ADDR=master
expect $torchrun night-5 master:77 "${rank[@]}" MASTER_ADDR=master TALWEG_PORT=77
# Within a task of Slurm there are several ranks.
expect $torchrun night-5 there:1 "${rank[@]}" "${task[@]}" TALWEG_SERVER=there:1 TALWEG_WORKER=slurm-812-3
expect $torchrun my-run-2-5 there:1 RANK=5 "TORCHELASTIC_RUN_ID=--my run:2" TALWEG_SERVER=there:1
expect $torchrun run-5 there:1 RANK=5 TORCHELASTIC_RUN_ID=/// TALWEG_SERVER=there:1
refuse $torchrun 2 "which command" "${rank[@]}" --
refuse $torchrun 2 "RANK or TORCHELASTIC_RUN_ID is not set" RANK=5 TALWEG_SERVER=there:1 -- true
refuse $torchrun - "MASTER_ADDR" "${rank[@]}" -- true

# Signals go to the command itself: it has the launcher's place, and its exit code.
for launcher in $slurm $torchrun; do
  # shellcheck disable=SC2016
  env -i PATH="$folder:$PATH" "${task[@]}" "${rank[@]}" TALWEG_SERVER=there:1 \
    bash "$deploy/$launcher" sh -c 'echo $$; exit 7' >"$folder/pid" &
  launched=$!
  status=0
  wait $launched || status=$?
  [[ $(cat "$folder/pid") == "$launched" ]] || fail "$launcher does not become its command"
  ((status == 7)) || fail "$launcher ended with $status instead of its command's 7"
done

# A contribution under the launcher's name; its gradient are the parameters themselves.
"$talweg" session create launched --server "$address" --layout "w:2" --learning_rate 0.5 \
  --optimizer gradient_descent --init "*=constant:1" >/dev/null
"$talweg" pull launched --server "$address" --output "$folder/gradient.npy" >/dev/null
for launcher in $slurm $torchrun; do
  launch "$launcher" "${task[@]}" "${rank[@]}" TALWEG_SERVER="$address" -- \
    "$talweg" step launched --gradient "$folder/gradient.npy"
  ((status == 0)) || fail "$launcher with talweg step ended with $status: $output"
done
records=$("$talweg" session records launched --server "$address")
[[ $records == *"1: slurm-812-3"*"1: night-5"* ]] || fail "who stepped is not told: $records"

# What Kubernetes needs to bring a worker back under its name.
for file in server.yaml workers.yaml; do
  if grep -n $'\t' "$deploy/kubernetes/$file"; then fail "$file has tabs"; fi
done
# shellcheck disable=SC2016  # Kubernetes expands it
for words in 'completionMode: Indexed' 'restartPolicy: OnFailure' 'value: talweg:50551' \
  'value: $(JOB_NAME)-$(JOB_INDEX)'; do
  grep -qF "$words" "$deploy/kubernetes/workers.yaml" || fail "workers.yaml lacks '$words'"
done
for with_yaml in "$python" /usr/bin/python3 ""; do
  [[ -n $with_yaml ]] || fail "no python3 here has yaml (Debian: python3-yaml)"
  "$with_yaml" -c 'import yaml' 2>/dev/null && break
done
"$with_yaml" - "$deploy/kubernetes" <<'PYTHON'
import re
import sys

import yaml

folder = sys.argv[1]


def read(name):
    with open(folder + "/" + name, encoding="utf-8") as file:
        return {document["kind"]: document for document in yaml.safe_load_all(file)}


server, workers = read("server.yaml"), read("workers.yaml")
service, job = server["Service"], workers["Job"]["spec"]
pod = server["Deployment"]["spec"]["template"]
port = service["spec"]["ports"][0]["port"]
container = pod["spec"]["containers"][0]
assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
assert "--address=0.0.0.0:%d" % port in container["args"]
assert {container[probe]["grpc"]["service"] for probe in ("readinessProbe", "livenessProbe")} == {
    "ready", "live"}
allowed = server["NetworkPolicy"]["spec"]["ingress"][0]
assert allowed["ports"][0]["port"] == port
assert (allowed["from"][0]["podSelector"]["matchLabels"].items()
        <= job["template"]["metadata"]["labels"].items())

assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
assert job["template"]["spec"]["restartPolicy"] == "OnFailure"
worker = job["template"]["spec"]["containers"][0]
environment = {entry["name"]: entry for entry in worker["env"]}
assert environment["TALWEG_SERVER"]["value"] == "%s:%d" % (service["metadata"]["name"], port)
# Kubernetes fills in only what stands earlier in the list.
names = [entry["name"] for entry in worker["env"]]
used = re.findall(r"\$\((\w+)\)", environment["TALWEG_WORKER"]["value"])
assert used and all(names.index(name) < names.index("TALWEG_WORKER") for name in used)
PYTHON
echo "launchers_test: ok"
