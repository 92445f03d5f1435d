#!/bin/sh
# Makes .venv with everything the project's commands need, from the package index this machine is set up for. Needs only Linux and Python.
set -eu
cd "$(dirname "$0")"

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then python=$candidate; break; fi
done
if [ -z "${python:-}" ]; then
    echo "bootstrap: no Python 3.10 to 3.13 found (seen: $(python3 --version 2>&1 || echo none)). Install one, or run: make PYTHON=/path/to/python3.x" >&2
    exit 1
fi

echo "bootstrap: $("$python" --version), packages into .venv (once; about half a minute on a fast line, 7 GB of disk) ..."
rm -rf .venv
if "$python" -m venv .venv 2>/dev/null; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
    uv=.venv/bin/uv
elif "$python" -m pip --version >/dev/null 2>&1; then # Debian splits venv off; pip alone is enough to get uv, which makes one
    rm -rf .venv build/uv
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --target build/uv -r requirements/uv.txt
    uv=build/uv/bin/uv
    $uv venv --quiet --python "$python" .venv
else
    echo "bootstrap: this Python has neither venv nor pip. Install them (Debian and Ubuntu: apt install python3-venv), then try again" >&2
    exit 1
fi
export VIRTUAL_ENV=.venv UV_HTTP_TIMEOUT=300 UV_LINK_MODE="${UV_LINK_MODE:-hardlink}"
$uv pip install --quiet --require-hashes -r requirements/all.txt
for file in requirements/bindings-*.txt; do # 5 MB each, for the conformance test; on aarch64 nothing is installed
    version=$(basename "$file" .txt)
    $uv pip install --quiet --no-deps --require-hashes --target ".venv/bindings/${version#bindings-}" -r "$file"
done
$uv pip install --quiet --no-deps --no-build-isolation --editable .
touch .venv/.installed
