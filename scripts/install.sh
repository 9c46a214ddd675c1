#!/usr/bin/env bash
# install.sh BIN PREFIX: installs a relocatable tree: programs find damnit_ctx relative to themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
prefix=$2
install -d "$prefix/bin" "$prefix/lib/amore/python" "$prefix/share/amore/templates" "$prefix/share/modulefiles/amore" "$prefix/share/doc/amore"
install -m 755 "$bin/amore" "$bin/amore-worker" "$prefix/bin/"
ln -sf amore "$prefix/bin/amore-proto"
ln -sf amore "$prefix/bin/damnit"
# Supervisor manages the service of a directory (`amore listen --daemonize`). Its packages are for its two commands only.
scripts/vendor-supervisor.sh target/venvs/tools/bin/python target/supervisor
rm -rf "$prefix/lib/amore/supervisor"
cp -R target/supervisor "$prefix/lib/amore/supervisor"
install -m 755 templates/supervisor-command.sh "$prefix/bin/supervisord"
install -m 755 templates/supervisor-command.sh "$prefix/bin/supervisorctl"
rm -rf "$prefix/lib/amore/python/damnit_ctx"
cp -R context/damnit_ctx "$prefix/lib/amore/python/"
find "$prefix/lib/amore/python" -name __pycache__ -type d -prune -exec rm -rf {} +
# Users cannot write there, so each start would compile again. A Python that is not installed here compiles at each start.
for version in 3.9 3.10 3.11 3.12 3.13 3.14; do
    python=$(command -v "python$version" || ls -d "$HOME"/.pyenv/versions/"$version".*/bin/python 2>/dev/null | head -n 1 || true)
    if [ -n "$python" ] && "$python" -c '' 2>/dev/null; then
        "$python" -m compileall -q --invalidation-mode unchecked-hash "$prefix/lib/amore/python/damnit_ctx"
    fi
done
cp -R templates/. "$prefix/share/amore/templates/"
cp README.md LICENSE "$prefix/share/doc/amore/"
for shell in bash zsh fish; do
    install -d "$prefix/share/amore/completions"
    "$bin/amore" completions $shell > "$prefix/share/amore/completions/amore.$shell"
done
version=$("$bin/amore" --version | awk '{print $2}')
cp templates/modulefile.tcl "$prefix/share/modulefiles/amore/$version"
chmod -R g+rX,o+rX "$prefix"
echo "installed Amore $version below $prefix"
echo "  programs:   $prefix/bin"
echo "  modulefile: module use $prefix/share/modulefiles && module load amore"
