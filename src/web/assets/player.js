// The player of a talk's page: the talk from its start while it is recorded, with its gaps on the seek bar.
"use strict";

(() => {
  const box = document.getElementById("player");
  if (!box) return;
  const base = box.dataset.talk;
  const video = box.querySelector("video");
  const bar = box.querySelector(".seek");
  const note = box.querySelector(".note");
  const live = box.querySelector(".live");
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 1000;
  // Further than this behind the newest is not live any more, in seconds.
  const LIVE_WITHIN = 20;
  // Between two looks at what has come, in milliseconds.
  const LOOK_AGAIN = 4000;

  let known = null;
  let started = false;

  const length = () => {
    const end = video.seekable.length ? video.seekable.end(video.seekable.length - 1) : 0;
    return Math.max(end, known ? known.seconds : 0);
  };
  const x = (seconds) => (length() > 0 ? Math.min(WIDTH, (seconds / length()) * WIDTH) : 0);

  const shape = (kind, attributes) => {
    const node = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  const clock = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    const two = (n) => String(n).padStart(2, "0");
    return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  };

  const draw = () => {
    bar.replaceChildren(
      shape("rect", { class: "all", x: 0, y: 3, width: WIDTH, height: 4 }),
      shape("rect", { class: "played", x: 0, y: 3, width: x(video.currentTime), height: 4 }),
    );
    for (const gap of known ? known.gaps : []) {
      const mark = shape("rect", { class: "gap", x: Math.max(0, x(gap.at) - 2), y: 0, width: 4, height: 10 });
      const title = shape("title", {});
      title.textContent = `${gap.seconds.toFixed(1)} s are missing here: ${gap.cause}`;
      mark.append(title);
      bar.append(mark);
    }
    bar.setAttribute("aria-valuenow", Math.round(video.currentTime));
    bar.setAttribute("aria-valuemax", Math.round(length()));
    bar.setAttribute("aria-valuetext", `${clock(video.currentTime)} of ${clock(length())}`);
    box.querySelector(".at").textContent = `${clock(video.currentTime)} / ${clock(length())}`;
    live.hidden = !known || known.ended;
    live.classList.toggle("on", length() - video.currentTime < LIVE_WITHIN);
  };

  const start = () => {
    started = true;
    box.classList.add("ready");
    const at = known.slot_at;
    if (known.webm) {
      window.playPieces(video, base, at);
      return;
    }
    if (window.Hls && Hls.isSupported()) {
      const hls = new Hls({
        enableWorker: false,
        startPosition: at,
        // From the start, however far the recording is ahead; the edge is only a seek away.
        liveSyncDuration: 10,
        liveMaxLatencyDuration: Infinity,
        backBufferLength: 60,
        maxBufferHole: 1,
      });
      hls.on(Hls.Events.ERROR, (_, data) => {
        if (!data.fatal) return;
        if (data.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
        else setTimeout(() => hls.startLoad(), LOOK_AGAIN);
      });
      hls.loadSource(`${base}/play.m3u8`);
      hls.attachMedia(video);
    } else {
      video.src = `${base}/play.m3u8`;
      video.addEventListener("loadedmetadata", () => { video.currentTime = at; }, { once: true });
    }
  };

  const look = async () => {
    try {
      const answer = await fetch(`${base}/timeline`);
      if (answer.ok) known = await answer.json();
    } catch {
      // The page says already that the recorder is gone.
    }
    if (known) {
      if (known.obstacle) {
        note.textContent = `This cannot be played here: ${known.obstacle}.`;
        return;
      }
      note.textContent = known.begun ? "" : "Nothing to watch yet; it appears here some seconds after it begins.";
      if (known.webm && !window.MediaSource) {
        note.textContent = "This cannot be played here: the browser takes no pieces of WebM.";
        return;
      }
      if (known.begun && !started) start();
      draw();
    }
    if (!known || !known.ended || !started) setTimeout(look, LOOK_AGAIN);
  };

  const seek = (event) => {
    const place = bar.getBoundingClientRect();
    video.currentTime = ((event.clientX - place.left) / place.width) * length();
  };
  bar.addEventListener("click", seek);
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -10, ArrowRight: 10, PageDown: -60, PageUp: 60 }[event.key];
    if (!step) return;
    event.preventDefault();
    video.currentTime = Math.max(0, Math.min(length() - 1, video.currentTime + step));
  });
  live.addEventListener("click", () => { video.currentTime = Math.max(0, length() - 8); video.play(); });
  video.addEventListener("timeupdate", draw);
  video.addEventListener("seeked", draw);
  look();
})();
