#!/usr/bin/env bash
# Lets "vagrant ssh -c 'make demo'" be enough: the shell of the user begins in the
# tree, and make is run as root, which the lab needs (root, in the machine).
set -euo pipefail

cat >/etc/profile.d/rekindle-tree.sh <<'EOF'
cd /opt/rekindle
if [ "$(id -u)" != 0 ]; then
  make() { sudo --preserve-env=LAB_NODE,GOTOOLCHAIN,REKINDLE_CACHE make "$@"; }
  export -f make 2>/dev/null || true
fi
EOF

# A command of "vagrant ssh -c" is run by a login shell; the tree is root's.
chown -R root:root /opt/rekindle
