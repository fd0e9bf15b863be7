#!/bin/sh
# Builds js-shard-key.wasm beside this script: installs the locked packages, then makes a component of policy.js.
set -eu
cd "$(dirname "$0")"

for tool in node npm; do
    command -v "$tool" >/dev/null || {
        echo "build.sh: $tool is missing; install Node.js 20 or later, which brings it" >&2
        exit 1
    }
done
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || {
    echo "build.sh: $(node --version) is too old; Node.js 20 or later is needed" >&2
    exit 1
}

# No package needs its install script here.
npm ci --ignore-scripts --no-audit --no-fund
node build.mjs
echo "made $(pwd)/js-shard-key.wasm: $(wc -c <js-shard-key.wasm) bytes"
