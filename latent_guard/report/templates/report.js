"use strict";
(() => {
  const gallery = document.getElementById("cards");
  const cards = [...gallery.querySelectorAll(".card")];
  const groups = [...gallery.querySelectorAll(".group")];
  const filters = [...document.querySelectorAll("[data-filter]")];
  const count = document.getElementById("count");
  const showAll = document.getElementById("show-all");
  const more = document.getElementById("more");
  const step = Number(gallery.dataset.step); // cards that are laid out at a time: thousands would make a page slow
  let limit = step;

  const press = (button, shown) => button.setAttribute("aria-pressed", String(shown));
  const pressed = (button) => button.getAttribute("aria-pressed") === "true";

  const matches = (card) =>
    filters.every(({ value, dataset }) => !value || card.dataset[dataset.filter].split(" ").includes(value));

  const applyFilters = () => {
    const matching = new Set(cards.filter(matches));
    const shown = new Set([...matching].slice(0, limit));
    for (const card of cards) card.hidden = !shown.has(card);
    for (const group of groups) {
      const own = [...group.querySelectorAll(".card")];
      group.querySelector(".number").textContent = own.filter((card) => matching.has(card)).length;
      group.hidden = own.length > 0 && !own.some((card) => shown.has(card));
    }
    more.hidden = matching.size <= limit;
    const first = more.hidden ? "" : `, the first ${limit} below`;
    count.textContent = matching.size
      ? `${matching.size} of ${cards.length} images${first}`
      : "No image matches these filters";
  };

  // The image under review is the last of its card, the unguarded one stands before it.
  const subject = (card) => [...card.querySelectorAll(".reveal")].pop();
  const reachable = () => cards.filter((card) => !card.hidden && subject(card));

  const inNextRow = (list, card, direction) => {
    const from = card.getBoundingClientRect();
    const gap = (other) => direction * (other.getBoundingClientRect().top - from.top);
    const beyond = list.filter((other) => gap(other) > 1);
    const nearest = Math.min(...beyond.map(gap));
    const aside = (other) => Math.abs(other.getBoundingClientRect().left - from.left);
    return beyond.filter((other) => gap(other) < nearest + 1).sort((a, b) => aside(a) - aside(b))[0];
  };

  const target = (key, card) => {
    const list = reachable();
    const place = list.indexOf(card);
    if (key === "j" || key === "ArrowRight") return list[place + 1];
    if (key === "k" || key === "ArrowLeft") return list[place - 1];
    if (key === "ArrowDown") return inNextRow(list, card, 1);
    if (key === "ArrowUp") return inNextRow(list, card, -1);
    return undefined;
  };

  gallery.addEventListener("click", (event) => {
    const button = event.target.closest(".reveal");
    if (button) press(button, !pressed(button));
  });

  gallery.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const card = event.target.closest(".card");
    const next = card && target(event.key.length === 1 ? event.key.toLowerCase() : event.key, card);
    if (!next) return;
    event.preventDefault();
    subject(next).focus();
    next.scrollIntoView({ block: "nearest" });
  });

  showAll.addEventListener("click", () => {
    press(showAll, !pressed(showAll));
    for (const button of gallery.querySelectorAll(".reveal")) press(button, pressed(showAll));
  });

  more.addEventListener("click", () => {
    const before = reachable().length;
    limit += step;
    applyFilters();
    const next = reachable()[before];
    if (next) subject(next).focus();
  });

  for (const filter of filters) {
    filter.addEventListener("change", () => {
      limit = step;
      applyFilters();
    });
  }
  applyFilters(); // a browser keeps the chosen values over a reload
})();
