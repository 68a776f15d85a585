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

  // Changes only what is another: what a person has opened, scrolled, pressed or moved the focus to stays, and what is
  // read aloud when it changes is not read aloud again.
  const become = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    const isOpened = (name) => name === "open" && old.nodeName === "DETAILS";
    for (const name of old.getAttributeNames()) {
      if (!fresh.hasAttribute(name) && !isOpened(name)) old.removeAttribute(name);
    }
    for (const name of fresh.getAttributeNames()) {
      const value = fresh.getAttribute(name);
      if (old.getAttribute(name) !== value && !isOpened(name)) old.setAttribute(name, value);
    }
    children(old, fresh);
  };

  const children = (old, fresh) => {
    const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
    after.forEach((node, n) => (n < before.length ? become(before[n], node) : old.append(node)));
    before.slice(after.length).forEach((node) => node.remove());
  };

  const put = (part) => {
    const place = document.getElementById(part.id);
    if (!place) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = part.html;
    children(place, fresh.content);
  };

  // A browser connects again by itself where a connection breaks, but not where something in between answers instead of
  // the recorder.
  const CONNECT_AGAIN = 3000;
  const connect = () => {
    const news = new EventSource(live);
    news.addEventListener("open", alive);
    news.addEventListener("alive", alive);
    news.addEventListener("part", (event) => {
      alive();
      put(JSON.parse(event.data));
    });
    news.addEventListener("error", () => {
      if (news.readyState === EventSource.CLOSED) setTimeout(connect, CONNECT_AGAIN);
    });
  };
  connect();

  setInterval(() => {
    if (Date.now() - heard < GONE_AFTER || !gone.hidden) return;
    gone.querySelector("time").textContent = new Date(heard).toLocaleTimeString();
    gone.hidden = false;
  }, 1000);
})();
