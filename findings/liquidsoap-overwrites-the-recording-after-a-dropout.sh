#!/bin/sh
# Liquidsoap records a hall with output.file(fallible=true). The hall's source drops out for 3 s and returns.
#
# Guess:   the file is truncated when the script starts, if at all; after a dropout the recording goes on
#          in it (or is closed, and a new name is needed).
# Reality: each return of the source is a start of the output, and a start truncates the file: everything
#          from before the dropout is gone. With a name without a time in it that is the default
#          (append=false); the log says only that the source is up again.
# Hurts:   stations and conferences that archive with Liquidsoap: one second without network, one hour lost.
# Versions: liquidsoap 2.1.3 (Debian 12). Seen 2026-11-30.
set -eu
T=$(mktemp -d); cd "$T"; K=; trap 'for k in $K; do kill "$k" 2>/dev/null || true; done; wait; rm -rf "$T"' EXIT
command -v liquidsoap >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends liquidsoap >/dev/null
liquidsoap --version | head -n 1
cat >t.liq <<E
settings.init.allow_root.set(true)
settings.log.stdout.set(false)
up = ref(true)
thread.run(delay=6., {up := false})
thread.run(delay=9., {up := true})
hall = switch(track_sensitive=false, [({!up}, sine())])
output.file(fallible=true, %wav, "$T/hall.wav", hall)
output.file(fallible=true, append=true, %wav(header=false), "$T/append.raw", hall)
thread.run(delay=12., shutdown)
E
timeout 110 liquidsoap t.liq >log 2>&1 & K=$!
max=0; fell=0; last=0
while kill -0 $K 2>/dev/null; do
  n=$(stat -c %s hall.wav 2>/dev/null || echo 0)
  if [ "$n" -lt "$last" ]; then echo "hall.wav fell from $last to $n bytes"; fell=1; [ "$last" -gt "$max" ] && max=$last; fi
  last=$n; sleep 0.2
done
end=$(stat -c %s hall.wav); app=$(stat -c %s append.raw)
echo "at the end: hall.wav $end bytes ($((end / 176400)) s), the same with append=true $app bytes ($((app / 176400)) s)"
[ $fell = 1 ] && [ "$max" -gt 300000 ] && [ "$app" -gt $((end * 3 / 2)) ] && echo SEEN || { tail -n 5 log; echo "NO LONGER SEEN"; exit 1; }
