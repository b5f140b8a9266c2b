"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("script");
  const detail = document.getElementById("detail");
  const events = [...document.querySelectorAll("a.event")];
  const wakes = [...document.querySelectorAll("g.wake")];
  const place = new Map(events.map((event, index) => [event.id, index]));
  const lane = (event) => event.dataset.lane;

  const show = (event) => {
    const number = event.id.slice(1);
    for (const old of document.querySelectorAll(".near")) old.classList.remove("near");
    for (const wake of wakes) {
      if (wake.dataset.from !== number && wake.dataset.to !== number) continue;
      wake.classList.add("near");
      for (const end of [wake.dataset.from, wake.dataset.to]) {
        const other = document.getElementById("e" + end);
        if (other) other.classList.add("near");
      }
    }
    detail.textContent = event.querySelector("title").textContent;
  };

  const go = (event) => {
    if (!event) return;
    event.focus({ preventScroll: true });
    event.scrollIntoView({ block: "center", inline: "nearest" });
  };

  for (const event of events) {
    event.addEventListener("mouseenter", () => show(event));
    event.addEventListener("focus", () => show(event));
    event.addEventListener("keydown", (pressed) => {
      const at = place.get(event.id);
      const beside = (step) => {
        for (let next = at + step; next >= 0 && next < events.length; next += step) {
          if (lane(events[next]) === lane(event)) return events[next];
        }
        return null;
      };
      const waker = () => {
        const wake = wakes.find((one) => one.dataset.to === event.id.slice(1));
        return wake && document.getElementById("e" + wake.dataset.from);
      };
      const moves = {
        ArrowDown: () => events[at + 1], ArrowUp: () => events[at - 1],
        ArrowRight: () => beside(1), ArrowLeft: () => beside(-1),
        Home: () => events[0], End: () => events[events.length - 1], w: waker,
      };
      const move = moves[pressed.key];
      if (!move || pressed.ctrlKey || pressed.metaKey || pressed.altKey) return;
      pressed.preventDefault();
      go(move());
    });
  }

  // Begin where it matters: at the last choice that is drawn, else at the end.
  const scroll = document.querySelector(".scroll");
  const start = [...document.querySelectorAll("a.event.marked")].pop() || events[events.length - 1];
  if (scroll && start && (scroll.scrollHeight > scroll.clientHeight || scroll.scrollWidth > scroll.clientWidth)) {
    const box = start.getBBox();
    scroll.scrollTo(box.x + box.width / 2 - scroll.clientWidth / 2, box.y - scroll.clientHeight / 2);
  }

  const open = () => {
    const row = location.hash.startsWith("#row") && document.getElementById(location.hash.slice(1));
    if (row) {
      row.closest("details").open = true;
      row.scrollIntoView({ block: "center" });
    }
  };
  addEventListener("hashchange", open);
  open();

  const copy = document.getElementById("copy");
  if (copy) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      const text = document.getElementById("again").textContent;
      try {
        await navigator.clipboard.writeText(text);
        copy.textContent = "Copied";
      } catch {
        const range = document.createRange();
        range.selectNodeContents(document.getElementById("again"));
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        copy.textContent = "Selected";
      }
    });
  }
})();
