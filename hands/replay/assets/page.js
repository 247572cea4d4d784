"use strict";
(() => {
  const make = (tag, text, props) => Object.assign(document.createElement(tag), { textContent: text || "" }, props);
  const list = document.querySelector("#trades .list");
  const tools = document.querySelector("#trades .tools");

  // sorting and filtering the trades: only with this script, so the controls are only made by it
  if (list && tools && list.children.length > 1) {
    const all = [...list.children];
    const words = new Map(all.map((each) => [each, null]));
    const order = make("select", "", { ariaLabel: "Order" });
    for (const [key, name] of [["", "newest first"], ["o", "oldest first"], ["p", "best first"], ["-p", "worst first"], ["-h", "longest held first"]]) {
      order.append(make("option", name, { value: key }));
    }
    const kind = make("select", "", { ariaLabel: "Which trades" });
    for (const [key, name] of [["", "all results"], ["+", "profits"], ["-", "losses"]]) {
      kind.append(make("option", name, { value: key }));
    }
    const search = make("input", "", { type: "search", placeholder: "symbol, strategy, agent, words of a thesis", ariaLabel: "Filter trades" });
    const shown = make("output");
    const text = (each) => {
      if (words.get(each) === null) words.set(each, each.textContent.toLowerCase());
      return words.get(each);
    };
    const sort = () => {
      const key = order.value;
      const by = { o: (a, b) => a.dataset.o - b.dataset.o, p: (a, b) => b.dataset.p - a.dataset.p, "-p": (a, b) => a.dataset.p - b.dataset.p, "-h": (a, b) => b.dataset.h - a.dataset.h }[key];
      list.append(...(by ? [...all].sort(by) : all));
    };
    const filter = () => {
      const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const each of all) {
        const result = Number(each.dataset.p);
        const fits = (kind.value === "" || (kind.value === "+" ? result > 0 : result < 0)) && asked.every((word) => text(each).includes(word));
        each.style.display = fits ? "" : "none";
        count += fits;
      }
      shown.textContent = count === all.length ? "" : `${count} of ${all.length}`;
    };
    order.addEventListener("change", sort);
    kind.addEventListener("change", filter);
    search.addEventListener("input", filter);
    tools.append(search, kind, order, shown);
    tools.hidden = false;
  }

  // words beside the pointer: of shapes that have a title, and of curves that can be read off
  const tip = make("div", "", { className: "tip", hidden: true });
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  const show = (words, x, y) => {
    tip.textContent = words;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(x - box.width / 2, document.documentElement.clientWidth - box.width - 6))}px`;
    tip.style.top = `${y - box.height - 14 < 4 ? y + 18 : y - box.height - 14}px`;
  };
  const hide = () => { tip.hidden = true; };
  for (const title of document.querySelectorAll("svg title")) {
    title.parentNode.setAttribute("data-t", title.textContent);
    title.parentNode.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  document.addEventListener("pointermove", (event) => {
    const at = event.target instanceof Element && event.target.closest("[data-t]");
    if (at) show(at.getAttribute("data-t"), event.clientX, event.clientY);
    else if (!(event.target instanceof Element && event.target.closest("[data-h]"))) hide();
  });
  for (const plot of document.querySelectorAll("[data-h]")) {
    const points = JSON.parse(plot.dataset.h);
    const cross = make("div", "", { className: "cross", hidden: true });
    const knob = make("div", "", { className: "knob", hidden: true });
    plot.append(cross, knob);
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const percent = ((event.clientX - box.left) / box.width) * 100;
      let low = 0, high = points.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (points[middle][0] < percent) low = middle + 1; else high = middle;
      }
      if (low > 0 && percent - points[low - 1][0] < points[low][0] - percent) low -= 1;
      const [x, y, words] = points[low];
      cross.hidden = knob.hidden = false;
      cross.style.left = knob.style.left = `${x}%`;
      knob.style.top = `${y}%`;
      show(words, box.left + (x / 100) * box.width, box.top + (y / 100) * box.height);
    });
    plot.addEventListener("pointerleave", () => { cross.hidden = knob.hidden = true; hide(); });
  }
})();
