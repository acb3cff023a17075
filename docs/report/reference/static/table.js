/* The table of runs: sorted by its heads, filtered by words; only the rows in sight are in the page, so ten thousand scroll. */
"use strict";
(() => {
  const { columns, rows, output } = JSON.parse(document.getElementById("runs-data").textContent);
  const frame = document.getElementById("runs-frame"), table = document.getElementById("runs-table");
  const [head, body] = [table.tHead.rows[0], table.tBodies[0]], filter = document.getElementById("filter");
  const height = 34, beyond = 12;
  const words = rows.map((row) => row.filter((value) => value !== null).join(" ").toLowerCase());
  const numeric = columns.map((_, at) => rows.every((row) => row[at] === null || row[at] === "" || typeof row[at] === "number" || !isNaN(row[at])));
  let shown = rows.map((_, index) => index), by = null, up = true, drawn = "";

  const collator = new Intl.Collator(undefined, { numeric: true });
  const empty = (value) => value === null || value === "" || value === "–";
  const compare = (a, b) => {
    const [x, y] = [rows[a][by], rows[b][by]];
    if (empty(x) || empty(y)) return empty(x) - empty(y);
    const order = numeric[by] ? x - y : collator.compare(x, y);
    return up ? order : -order;
  };

  const cell = (value, at) => {
    const made = document.createElement("td");
    const text = empty(value) ? "–" : String(value);
    if (at === 0 && !empty(value)) {
      const link = document.createElement("a");
      link.href = `${output}${encodeURIComponent(value)}/`;
      link.textContent = value;
      made.append(link);
    } else made.textContent = text;
    if (columns[at] === "state") made.className = `state-${text.replaceAll(" ", "-")}`;
    else if (numeric[at]) made.className = "number";
    if (text.length > 30) made.title = text;
    return made;
  };

  const spacer = (count) => {
    const row = document.createElement("tr");
    row.className = "spacer";
    row.setAttribute("aria-hidden", "true");
    const made = row.insertCell();
    made.colSpan = columns.length;
    made.style.height = `${count * height}px`;
    return row;
  };

  const draw = () => {
    const all = shown.length <= 200;  // few enough to be printed and found by the browser's own search
    const first = all ? 0 : Math.max(0, Math.floor(frame.scrollTop / height) - beyond);
    const last = all ? shown.length : Math.min(shown.length, first + Math.ceil(frame.clientHeight / height) + 2 * beyond);
    if (drawn === `${first}-${last}`) return;
    drawn = `${first}-${last}`;
    const made = shown.slice(first, last).map((index, offset) => {
      const row = document.createElement("tr");
      row.setAttribute("aria-rowindex", first + offset + 2);
      row.append(...rows[index].map(cell));
      return row;
    });
    body.replaceChildren(...(first ? [spacer(first)] : []), ...made, ...(last < shown.length ? [spacer(shown.length - last)] : []));
  };

  const update = () => {
    const asked = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = rows.map((_, index) => index).filter((index) => asked.every((word) => words[index].includes(word)));
    if (by !== null) shown.sort(compare);
    document.getElementById("count").textContent = `${shown.length} of ${rows.length} rows`;
    table.setAttribute("aria-rowcount", shown.length + 1);
    drawn = "";
    draw();
  };

  columns.forEach((name, at) => {
    const made = document.createElement("th"), button = document.createElement("button");
    made.scope = "col";
    made.classList.toggle("number", numeric[at]);
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => {
      [by, up] = [at, by === at ? !up : true];
      for (const other of head.cells) other.removeAttribute("aria-sort");
      made.setAttribute("aria-sort", up ? "ascending" : "descending");
      frame.scrollTop = 0;
      update();
    });
    made.append(button);
    head.append(made);
  });

  const ask = () => {  // a link to #run=<id> shows that run
    const [, run] = location.hash.match(/^#run=(\w+)$/) ?? [];
    if (!run) return;
    filter.value = run;
    update();
    document.getElementById("runs").scrollIntoView();
  };
  filter.addEventListener("input", () => { frame.scrollTop = 0; update(); });
  frame.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  addEventListener("resize", draw);
  addEventListener("hashchange", ask);
  update();
  ask();
})();
