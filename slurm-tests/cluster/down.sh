#!/usr/bin/env bash
# down.sh [SUITE]: removes the cluster's containers, network and volumes. The image stays; IMAGE=1 removes it as well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# A paused container cannot be stopped.
for id in $(docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter status=paused); do
    docker unpause "$id" >/dev/null
done
compose down --volumes --timeout 2 >/dev/null 2>&1 || compose down --volumes --timeout 2
if [ "${IMAGE:-0}" = 1 ]; then docker image rm "amore-slurm:$suite" >/dev/null; fi
say "$COMPOSE_PROJECT_NAME is gone"
