/* The grid of pictures by two settings, one step of the optimisation for all, and two pictures over each other. */
"use strict";
(() => {
  const found = document.getElementById("pictures-data");
  if (!found) return;
  const { by, pictures, inputs, steps } = JSON.parse(found.textContent);
  const get = (id) => document.getElementById(id);
  const grid = get("grid"), choices = get("choices"), others = get("others"), step = get("step");
  const values = by.map((_, at) => [...new Set(pictures.map((picture) => picture.at[at]))]);
  const told = by.map((_, at) => at).filter((at) => values[at].length > 1);
  const [content, style, pair] = [by.length - 3, by.length - 2, by.length - 1];
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const nothing = -1, chosen = [];  // the compared pictures: left, right
  let images = [];

  // --- What the grid shows

  const option = (value, text) => new Option(text, value);
  const fill = (select, wanted) => {
    select.append(...told.map((at) => option(at, by[at])), option(nothing, "nothing"));
    select.value = wanted ?? nothing;
  };
  const settings = told.filter((at) => at < content), columns = settings.at(-1) ?? style;
  fill(get("rows"), [pair, ...settings].find((at) => at !== columns && told.includes(at)));
  fill(get("columns"), told.includes(columns) ? columns : nothing);

  const sides = () => [Number(get("rows").value), Number(get("columns").value)];
  const count = (ats) => new Set(pictures.map((one) => JSON.stringify(ats.map((at) => one.at[at])))).size;
  const rest = () => {  // the settings that are left open; the pair comes first, as it tells content and style
    const known = sides().filter((side) => side >= 0), open = [];
    for (const at of [...told].sort((a, b) => (b === pair) - (a === pair))) {
      if (count([...known, ...open, at]) > count([...known, ...open])) open.push(at);
    }
    return open;
  };
  const ask = () => {  // a choice for each setting that neither side shows
    const before = new Map([...others.querySelectorAll("select")].map((one) => [one.dataset.at, one.value]));
    others.replaceChildren(...rest().map((at) => {
      const label = document.createElement("label"), select = document.createElement("select");
      select.dataset.at = at;
      select.append(...values[at].map((value) => option(value, value)));
      select.value = before.get(String(at)) ?? values[at][0];
      label.append(`${by[at]} `, select);
      return label;
    }));
  };

  const source = (picture) => {
    if (!steps.length || Number(step.value) === steps.length) return picture.file;
    const until = picture.steps.filter(([at]) => at <= steps[step.value]);
    return until.length ? until.at(-1)[1] : picture.file;
  };
  const name = (picture) => told.filter((at) => at < content || at === pair).map((at) => at === pair ? picture.at[at] : `${by[at]} ${picture.at[at]}`).join(", ") || `${picture.at[content]} in the style of ${picture.at[style]}`;

  const clone = (id) => get(id).content.firstElementChild.cloneNode(true);
  const figure = (picture) => {
    const made = clone(picture.file ? "picture" : "lost"), badge = made.querySelector(".badge");
    badge.textContent = picture.state;
    badge.hidden = picture.state === "finished";
    badge.title = picture.why ?? "";
    made.querySelector(".words").textContent = picture.file ? picture.words : picture.why ?? "";
    if (!picture.file) return made;
    made.classList.toggle("unfinished", picture.state !== "finished");
    const image = made.querySelector("img"), button = made.querySelector("button"), run = made.querySelector(".run");
    Object.assign(image, { src: source(picture), width: picture.width, height: picture.height });
    image.alt = `${picture.at[content]} in the style of ${picture.at[style]}: ${name(picture)}${picture.state === "finished" ? "" : `, ${picture.state}`}`;
    run.textContent = picture.run.slice(0, 8);
    run.href = `#run=${picture.run}`;
    run.title = `run ${picture.run}`;
    button.title = name(picture);
    button.addEventListener("click", () => choose(picture));
    images.push([image, picture, button]);
    return made;
  };

  const heading = (scope, side, value) => {
    const made = document.createElement("th");
    made.scope = scope;
    for (const input of side < 0 ? [] : inputs[by[side]]?.[value] ?? []) {
      const image = new Image(input.width, input.height);
      image.loading = "lazy";
      image.alt = "";
      image.src = input.file;
      made.append(image);
    }
    made.append(value);
    return made;
  };

  const draw = () => {
    const [row, column] = sides(), key = (at, picture) => (at < 0 ? "" : picture.at[at]);
    const fixed = [...others.querySelectorAll("select")].map((one) => [Number(one.dataset.at), one.value]);
    const shown = pictures.filter((picture) => fixed.every(([at, value]) => picture.at[at] === value)
      && !(get("unfinished").checked && picture.state === "finished"));
    const at = Map.groupBy ? Map.groupBy(shown, (one) => JSON.stringify([key(row, one), key(column, one)])) : shown.reduce((map, one) => {
      const place = JSON.stringify([key(row, one), key(column, one)]);
      return map.set(place, [...(map.get(place) ?? []), one]);
    }, new Map());
    const used = (side) => (side < 0 ? [""] : values[side].filter((value) => shown.some((picture) => picture.at[side] === value)));
    const across = used(column);
    images = [];
    grid.tHead.rows[0].replaceChildren(document.createElement("td"), ...across.map((value) => heading("col", column, value)));
    grid.tBodies[0].replaceChildren(...used(row).map((down) => {
      const made = document.createElement("tr");
      made.append(heading("row", row, down), ...across.map((value) => {
        const place = document.createElement("td");
        place.append(...(at.get(JSON.stringify([down, value])) ?? []).map(figure));
        return place;
      }));
      return made;
    }));
    get("grid-count").textContent = `${shown.length} of ${pictures.length} pictures`;
    mark();
  };

  // --- Two pictures over each other

  const stage = get("stage"), [under, over] = [get("under"), get("over")];
  let timer = null;
  const reveal = (percent) => {
    over.style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
    stage.querySelector(".divider").style.left = `${percent}%`;
  };
  const mark = () => {
    for (const [, picture, button] of images) button.setAttribute("aria-pressed", chosen.includes(picture));
  };
  const compare = () => {
    get("compare").hidden = chosen.length < 2;
    if (chosen.length < 2) return;
    for (const [image, picture, label] of [[over, chosen[0], "left-name"], [under, chosen[1], "right-name"]]) {
      Object.assign(image, { src: source(picture), alt: name(picture), width: picture.width, height: picture.height });
      get(label).textContent = `${name(picture)}${picture.words ? ` (${picture.words})` : ""}`;
    }
    mark();
  };
  const choose = (picture) => {
    if (picture === chosen[1]) return;
    chosen.push(picture);
    chosen.splice(0, chosen.length - 2);
    compare();
  };
  const blinking = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(flip, 800) : null;
    get("blink").setAttribute("aria-pressed", on);
    stage.classList.toggle("whole", on);
    if (!on) reveal(get("slider").value);
  };
  let first = true;
  const flip = () => {
    first = !first;
    stage.classList.add("whole");
    over.style.clipPath = first ? "none" : "inset(0 100% 0 0)";
  };
  get("slider").addEventListener("input", () => { blinking(false); reveal(get("slider").value); });
  get("blink").hidden = calm;  // Flip does the same by hand
  get("blink").addEventListener("click", () => blinking(timer === null));
  get("flip").addEventListener("click", () => { blinking(false); flip(); });
  get("exchange").addEventListener("click", () => { chosen.reverse(); compare(); });

  // --- Steps

  if (steps.length) {
    step.parentElement.hidden = false;
    step.max = step.value = steps.length;
    const update = () => {
      get("step-name").textContent = Number(step.value) === steps.length ? "finished" : `after ${steps[step.value]}`;
      for (const [image, picture] of images) image.src = source(picture);
      compare();
    };
    step.addEventListener("input", update);
    update();
  }

  choices.addEventListener("submit", (event) => event.preventDefault());
  choices.addEventListener("change", (event) => {
    if (event.target === step) return;
    if (event.target === get("rows") || event.target === get("columns")) ask();
    draw();
  });
  ask();
  draw();
  images.slice(0, 2).forEach(([, picture]) => choose(picture));
  reveal(50);
})();
