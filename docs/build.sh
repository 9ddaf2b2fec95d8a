#!/usr/bin/env bash
# The documentation site in docs/build/html, from the code and the pages in docs/. Needs no network.
set -euo pipefail
cd "$(dirname "$0")"
export ANSIBLE_COLLECTIONS_PATH=$PWD/../collections
source=build/source
rm -rf build
mkdir -p "$source/guides" "$source/reference"
chmod go-w "$source/reference"
cp site/conf.py site/index.md "$source/"
cp ./*.md "$source/guides/"
antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --dest-dir "$source/reference" slipway.mlops
sphinx-build -q -W --keep-going -b html "$source" build/html
echo "docs/build/html/index.html"
