#!/bin/sh
# A JetStream stream is purged (or a message is deleted), and its publisher, who keeps the truth elsewhere,
# publishes the same facts again, with the same Nats-Msg-Id as always.
#
# Guess:   what is not in the stream is no duplicate: the message is stored.
# Reality: the server acknowledges it (duplicate: true, with the sequence number of the message that is
#          gone) and stores nothing, for the length of the duplicate window (2 min). The id counts for the
#          whole stream, too: the same id on another subject is dropped as a duplicate of the first one.
# Hurts:   "publish again whatever the stream lacks" after a purge: every publish succeeds, the stream stays
#          empty. A client that looks only at "acknowledged" never learns it.
# Versions: nats-server 2.9.10 (Debian 12), nats-py 2.16.0 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); cd "$T"; K=; trap 'for k in $K; do kill "$k" 2>/dev/null || true; done; wait; rm -rf "$T"' EXIT
command -v nats-server >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nats-server >/dev/null
nats-server --version
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install nats-py==2.16.0
nats-server -a 127.0.0.1 -p -1 --ports_file_dir "$T" -js -sd "$T/js" -l "$T/log" & K=$!
for i in 1 2 3 4 5 6 7 8 9 10; do ls nats-server_*.ports >/dev/null 2>&1 && break; sleep 0.3; done
URL=$(python3 -c 'import glob, json; print(json.load(open(glob.glob("nats-server_*.ports")[0]))["nats"][0])')
cat >t.py <<'E'
import asyncio, nats, sys
async def main():
    c = await nats.connect(sys.argv[1]); js = c.jetstream()
    await js.add_stream(name="FACTS", subjects=["fact.*"])
    async def put(subject, id): return await js.publish(subject, b"x", headers={"Nats-Msg-Id": id})
    async def count(): return (await js.stream_info("FACTS")).state.messages
    await put("fact.a", "1")
    other = await put("fact.b", "1"); n1 = await count()
    await js.purge_stream("FACTS")
    again = await put("fact.a", "1"); n2 = await count()
    first = await put("fact.a", "2"); await js.delete_msg("FACTS", first.seq)
    deleted = await put("fact.a", "2"); n3 = await count()
    print(f"same id, other subject: acknowledged, duplicate={other.duplicate}, stored {n1}")
    print(f"same id after a purge:  acknowledged, duplicate={again.duplicate}, seq {again.seq}, stored {n2}")
    print(f"same id after deletion: acknowledged, duplicate={deleted.duplicate}, seq {deleted.seq}, stored {n3}")
    await c.close()
    return bool(other.duplicate and again.duplicate and deleted.duplicate and (n1, n2, n3) == (1, 0, 0))
ok = asyncio.run(main())
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
v/bin/python t.py "$URL"
