#!/usr/bin/env bash
# Runs one job on all workers of a Cloud TPU VM slice, and restarts it after an interruption.
#
#   launch/tpu_slice.sh --name=my-v5e-16 --zone=us-west4-a --repo=https://github.com/me/softshare_jax.git -- \
#       --config=cifar10:swrn-28-10-2 --workdir=/mnt/shared/runs/swrn-28-10-2 --config.data_dir=/mnt/shared/data
#
# Arguments after -- go to `softshare train`; on TPUs, JAX discovers the coordinator. The workdir and the data must be on a
# disk that all workers mount, such as Filestore; docs/clusters.md says why not in a bucket. You must be logged in to gcloud.
set -euo pipefail

name='' zone='' repo='' restarts=10
while (($#)); do
    case $1 in
        --name=*) name=${1#*=} ;;
        --zone=*) zone=${1#*=} ;;
        --repo=*) repo=${1#*=} ;;
        --restarts=*) restarts=${1#*=} ;;
        --) shift; break ;;
        *) echo "error: $1 is not an option; the options are --name, --zone, --repo and --restarts" >&2; exit 2 ;;
    esac
    shift
done
if [[ -z $name || -z $zone || $# -eq 0 ]]; then
    echo "error: --name, --zone and, after --, the flags of softshare train are required" >&2
    exit 2
fi
for argument in "$@"; do
    if [[ $argument =~ ^(--[a-z_.]+=)?[A-Za-z][A-Za-z0-9+.-]+:/ ]]; then
        echo "error: ${argument#--*=} is a URL; runs and data need a disk that all workers mount (see docs/clusters.md)" >&2
        exit 2
    fi
done

on_all_workers() {
    gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}

if [[ -n $repo ]]; then
    echo "== installing on all workers of $name =="
    on_all_workers "test -d softshare_jax || git clone $(printf %q "$repo") softshare_jax
        cd softshare_jax && python3 -m venv .venv && .venv/bin/pip install --quiet --editable '.[tpu]'"
fi

# If a worker is lost, the others miss its heartbeat and end within about a minute. Any process left would hold the chips,
# so it is killed before the next start.
train="cd softshare_jax && exec .venv/bin/python -m softshare_jax.main$(printf ' %q' "$@")"
for ((attempt = 0; attempt <= restarts; attempt++)); do
    echo "== start $((attempt + 1)) of at most $((restarts + 1)) =="
    code=0
    on_all_workers "$train" || code=$?
    # 2 is a user error and 130 is Ctrl-C; neither is retried. SIGTERM (143) is.
    if ((code == 0 || code == 2 || code == 130)); then
        exit "$code"
    fi
    echo "the job ended with code $code; it resumes from its last checkpoint" >&2
    on_all_workers "pkill -9 -f softshare_jax.main || true" || true
    sleep "${RESTART_SECONDS:-30}"
done
exit "$code"
