#!/usr/bin/env bash
# Takes the virtual machine in VM_DIR away; image and parts stay in the cache.
set -euo pipefail
# shellcheck source=test/vm/settings.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/settings.sh"

[[ -e $VM_DIR ]] || exit 0
[[ -f $vm_mark || -L $VM_DIR/image || -z $(ls -A "$VM_DIR") ]] ||
  die "$VM_DIR was not made by up.sh: nothing is touched"
step "taking away the virtual machine in $VM_DIR"
# Nothing in it is worth a shutdown.
"$vm_source/power.sh" cut
rm -rf --one-file-system "$VM_DIR"
note 'nothing of it is left'
