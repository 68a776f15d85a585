#!/bin/sh
# A reader asks an S3 server for the end of a recording: "Range: bytes=-4", the last 4 bytes (RFC 9110,
# 14.1.2), as one does for the index of an MP4 or the last cluster of a Matroska file.
#
# Guess:   the last 4 bytes, or the whole object with 200.
# Reality: s3rver answers 206 with "Content-Range: bytes 0-4/10": the FIRST 5 bytes.
# Hurts:   tests of archive readers; a cache that files the answer by the range it asked for.
# Versions: s3rver 3.7.1 (npm). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
npm init -y >/dev/null; npm install --ignore-scripts --no-audit --no-fund --silent s3rver@3.7.1
cat >t.js <<'E'
const S3rver = require('s3rver'), fs = require('fs'), http = require('http');
const s = new S3rver({ port: 0, address: '127.0.0.1', silent: true, directory: 'data', configureBuckets: [{ name: 'talks' }] });
s.run((err, { port } = {}) => {
  if (err) throw err;
  const ask = (method, range, body) => new Promise((ok, no) => {
    const r = http.request({ host: '127.0.0.1', port, method, path: '/talks/t.mkv', headers: range ? { range } : {} }, a => {
      let t = ''; a.on('data', d => t += d); a.on('end', () => ok([a.statusCode, a.headers['content-range'], t.replace(/.*<Code>(.*)<\/Code>.*/s, '$1')]));
    }); r.on('error', no); r.end(body);
  });
  (async () => {
    await ask('PUT', null, '0123456789');
    const tail = await ask('GET', 'bytes=-4'), whole = await ask('GET');
    console.log('whole     ', ...whole); console.log('bytes=-4  ', ...tail);
    const ok = tail[0] === 206 && tail[2] === '01234' && whole[0] === 200;
    console.log(ok ? 'SEEN' : 'NO LONGER SEEN'); process.exit(ok ? 0 : 1);
  })();
});
setTimeout(() => process.exit(2), 30000).unref();
E
node t.js
