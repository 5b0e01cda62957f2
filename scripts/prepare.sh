#!/usr/bin/env bash
# Builds what the labs are made of, and with the phase vm what the virtual machine
# is, while test.sh runs phases that need none of it:
#   prepare.sh [PHASE]...
# All of it lands in REKINDLE_CACHE; what is there already costs nothing.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

test/lab/parts.sh cluster
if [[ " $* " == *' vm '* ]]; then
  test/vm/image.sh
  test/vm/parts.sh
fi
test/lab/tools.sh compat
