// Keeps an open page up to date: takes the parts that the recorder sends, and says when it is gone.
"use strict";

(() => {
  const live = document.body.dataset.live;
  if (!live) return;

  // The recorder says something every two seconds; after this many milliseconds of silence it is gone.
  const GONE_AFTER = 8000;
  const gone = document.getElementById("gone");
  let heard = Date.now();

  const alive = () => {
    heard = Date.now();
    gone.hidden = true;
  };

  const put = (part) => {
    const place = document.getElementById(part.id);
    if (!place) return;
    // What a person has opened or scrolled stays so.
    const open = [...place.querySelectorAll("details[open][id]")].map((d) => d.id);
    const grid = place.querySelector(".grid");
    const left = grid ? grid.scrollLeft : 0;
    place.innerHTML = part.html;
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    const fresh = place.querySelector(".grid");
    if (fresh) fresh.scrollLeft = left;
  };

  const news = new EventSource(live);
  news.addEventListener("open", alive);
  news.addEventListener("alive", alive);
  news.addEventListener("part", (event) => {
    alive();
    put(JSON.parse(event.data));
  });

  setInterval(() => {
    if (Date.now() - heard < GONE_AFTER || !gone.hidden) return;
    gone.querySelector("time").textContent = new Date(heard).toLocaleTimeString();
    gone.hidden = false;
  }, 1000);
})();
