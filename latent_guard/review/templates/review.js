"use strict";
(() => {
  const queue = document.getElementById("cards");
  const cards = [...queue.querySelectorAll(".card")];
  const filters = [...document.querySelectorAll("[data-filter]")];
  const count = document.getElementById("count");
  const problem = document.getElementById("problem");
  const more = document.getElementById("more");
  const step = Number(queue.dataset.step); // cards that are laid out at a time: thousands would make a page slow
  const states = { uphold: "upheld", overturn: "overturned" };
  let limit = step;

  const matches = (card) =>
    filters.every(({ value, dataset }) => !value || value.split(" ").includes(card.dataset[dataset.filter]));

  const applyFilters = () => {
    const matching = cards.filter(matches);
    const shown = new Set(matching.slice(0, limit));
    for (const card of cards) card.hidden = !shown.has(card);
    more.hidden = matching.length <= limit;
    count.textContent = matching.length ? `${matching.length} of ${cards.length} images` : "No image matches these filters";
    for (const total of document.querySelectorAll("[data-count]")) {
      total.textContent = cards.filter((card) => card.dataset.state === total.dataset.count).length;
    }
  };

  const image = (card) => card.querySelector(".reveal");
  const reachable = () => cards.filter((card) => !card.hidden);

  const reveal = (card, shown) => {
    const [verb, name] = [shown ? "Hide" : "Show", card.getAttribute("aria-label").toLowerCase()];
    image(card).setAttribute("aria-pressed", String(shown));
    image(card).setAttribute("aria-label", `${verb} ${name}`);
  };
  const toggle = (card) => reveal(card, image(card).getAttribute("aria-pressed") !== "true");

  const go = (card) => {
    if (!card) return;
    image(card).focus();
    card.scrollIntoView({ block: "nearest" });
  };

  const sent = async (id, decision) => {
    try {
      const answer = await fetch("decisions", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id, decision }),
      });
      const said = await answer.json();
      return answer.ok ? said : { problem: typeof said.detail === "string" ? said.detail : "it was refused" };
    } catch {
      return { problem: "the page's server does not answer" };
    }
  };

  const decide = async (card, decision) => {
    const said = await sent(card.dataset.id, decision);
    problem.hidden = !said.problem;
    if (said.problem) {
      problem.textContent = `The decision was not kept: ${said.problem}`;
      return;
    }
    const list = reachable();
    const next = list[list.indexOf(card) + 1] || list[list.indexOf(card) - 1];
    card.dataset.state = states[decision];
    card.querySelector(".state").textContent = said.said;
    reveal(card, false);
    for (const button of card.querySelectorAll("[data-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.choice === decision));
    }
    applyFilters();
    if (next) go(next);
    else document.getElementById("queue").focus();
  };

  const press = (key, card) => {
    const list = reachable();
    const place = list.indexOf(card); // -1 where no image is in focus: the next one is the first
    if (key === "j" || key === "ArrowRight" || key === "ArrowDown") go(list[place + 1]);
    else if (key === "k" || key === "ArrowLeft" || key === "ArrowUp") go(list[place - 1]);
    else if (card && key === "r") toggle(card);
    else if (card && key === "u") decide(card, "uphold");
    else if (card && key === "o") decide(card, "overturn");
    else return false;
    return true;
  };

  document.addEventListener("keydown", (event) => {
    const { ctrlKey, metaKey, altKey, repeat, key, target } = event;
    if (ctrlKey || metaKey || altKey || target.closest("select")) return;
    const letter = key.length === 1 ? key.toLowerCase() : key;
    if (repeat && "uor".includes(letter)) return; // a key that is held decides once
    const card = target.closest(".card");
    if (!card && letter.startsWith("Arrow")) return; // they scroll
    if (press(letter, card)) event.preventDefault();
  });

  queue.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    const choice = event.target.closest("[data-choice]");
    if (choice) decide(card, choice.dataset.choice);
    else if (event.target.closest(".reveal")) toggle(card);
  });

  more.addEventListener("click", () => {
    const before = reachable().length;
    limit += step;
    applyFilters();
    go(reachable()[before]);
  });

  for (const filter of filters) {
    filter.addEventListener("change", () => {
      limit = step;
      applyFilters();
    });
  }
  applyFilters();
})();
