// Plays a talk in pieces of WebM, which hls.js does not know: each piece plays by itself and says where it belongs.
"use strict";

window.playPieces = (video, base, start) => {
  // So much is fetched ahead of what is played, and kept behind it, in seconds.
  const AHEAD = 30;
  const BEHIND = 60;
  // A hole that is no longer than this is stepped over, in seconds: sound and pictures do not end together.
  const HOLE = 1.5;
  // Between two looks at what is wanted, and at what has come, in milliseconds.
  const LOOK = 250;
  const LOOK_AGAIN = 3000;

  let media = null;
  let address = null;
  const pieces = [];
  // How often each piece was appended: one of which nothing can be shown is not fetched for ever.
  const tried = new Map();
  const TRIES = 3;
  // Pieces at which playing broke, and where it did last.
  const bad = new Set();
  let broke = -1;
  let appending = -1;
  // Counts how often playing began anew: what was begun before does not go on then.
  let life = 0;
  let buffer = null;
  let ended = false;
  let asked = -Infinity;
  let busy = false;
  let hearing = false;

  const settled = () => new Promise((resolve, reject) => {
    buffer.addEventListener("updateend", resolve, { once: true });
    buffer.addEventListener("error", () => reject(new Error("a piece cannot be played")), { once: true });
  });

  const hear = async () => {
    const from = pieces.length;
    const answer = await fetch(`${base}/pieces?from=${from}`);
    if (!answer.ok) return;
    const news = await answer.json();
    if (pieces.length !== from) return;
    pieces.push(...news.pieces);
    ended = news.ended;
  };

  // The answer may take long, and what is listed plays on meanwhile.
  const listen = () => {
    if (ended || hearing || performance.now() - asked < LOOK_AGAIN) return;
    hearing = true;
    hear().catch(console.debug).finally(() => {
      hearing = false;
      asked = performance.now();
    });
  };

  const buffered = (at) => {
    for (let n = 0; n < video.buffered.length; n += 1) {
      if (video.buffered.start(n) <= at + 0.1 && at < video.buffered.end(n)) return true;
    }
    return false;
  };

  // The first piece from here on that is not there. What the browser threw away is fetched again.
  const wanted = () => {
    const now = video.currentTime;
    const end = (piece) => piece.at + piece.seconds;
    return pieces.findIndex((piece, n) => {
      if (end(piece) <= now || piece.at > now + AHEAD) return false;
      if (bad.has(n)) return false;
      const times = tried.get(n) || 0;
      return times === 0 || (times < TRIES && !buffered((Math.max(piece.at, now) + end(piece)) / 2));
    });
  };

  const isOver = () => tried.has(pieces.length - 1) || bad.has(pieces.length - 1);

  const forget = async () => {
    const before = video.currentTime - BEHIND;
    if (buffer.buffered.length === 0 || buffer.buffered.start(0) >= before - 10) return;
    buffer.remove(0, before);
    await settled();
    for (const n of tried.keys()) if (pieces[n].at < before) tried.delete(n);
  };

  const append = async (n) => {
    const piece = pieces[n];
    const answer = await fetch(`${base}/${piece.name}`);
    if (answer.status === 404) {
      // Gone, or not to be shown any more.
      bad.add(n);
      return;
    }
    if (!answer.ok) throw new Error(`${piece.name}: ${answer.status}`);
    const bytes = await answer.arrayBuffer();
    if (buffer.kind !== piece.type) {
      buffer.changeType(piece.type);
      buffer.kind = piece.type;
    }
    buffer.timestampOffset = piece.at - piece.media;
    tried.set(n, (tried.get(n) || 0) + 1);
    appending = n;
    buffer.appendBuffer(bytes);
    await settled();
    appending = -1;
    // The last cluster of a piece does not say where it ends.
    buffer.abort();
  };

  const step_over = () => {
    if (video.paused || video.seeking || video.readyState > 2) return;
    const now = video.currentTime;
    for (let n = 0; n < video.buffered.length; n += 1) {
      const begin = video.buffered.start(n);
      if (begin <= now) continue;
      // A longer one only where nothing in it can be had.
      const next = wanted();
      if (begin - now < HOLE || next < 0 || pieces[next].at >= begin) video.currentTime = begin + 0.01;
      return;
    }
  };

  const look = async () => {
    if (busy || media.readyState === "closed") return;
    busy = true;
    const mine = life;
    try {
      listen();
      if (!buffer && pieces.length > 0) {
        buffer = media.addSourceBuffer(pieces[0].type);
        buffer.kind = pieces[0].type;
      }
      if (buffer) {
        const last = pieces.at(-1);
        // It may be sought to before it is fetched.
        if (media.readyState === "open" && !(media.duration >= last.at + last.seconds)) {
          media.duration = last.at + last.seconds;
        }
        await forget();
        const next = wanted();
        if (next >= 0) await append(next);
        else if (ended && media.readyState === "open" && isOver()) media.endOfStream();
      }
    } catch (error) {
      // Tried again at the next look: the recorder may be back then.
      console.debug(error);
    }
    if (mine === life && buffer) step_over();
    if (mine === life) busy = false;
  };

  const open = (at) => {
    life += 1;
    busy = false;
    buffer = null;
    appending = -1;
    tried.clear();
    media = new MediaSource();
    media.addEventListener("sourceopen", look, { once: true });
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(media);
    video.src = address;
    video.currentTime = at;
  };

  // A decoder that stumbles ends all playing. It begins anew there; where it stumbles again, behind that piece.
  video.addEventListener("error", () => {
    const now = video.currentTime;
    const here = appending >= 0 ? appending : pieces.findIndex((piece) => now < piece.at + piece.seconds);
    if (here < 0) return;
    if (here === broke) bad.add(here);
    broke = here;
    const { paused } = video;
    const { at, seconds } = pieces[here];
    open(bad.has(here) && now >= at ? at + seconds : now);
    if (!paused) video.play().catch(() => {});
  });
  video.addEventListener("seeking", look);
  setInterval(look, LOOK);
  open(start);
};
