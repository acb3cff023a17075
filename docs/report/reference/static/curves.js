/* One reading line over all panels: the table below them has the values of all lines at its place. */
"use strict";
(() => {
  const found = document.getElementById("curves-data");
  if (!found) return;
  const { places, readings } = JSON.parse(found.textContent);
  const panels = document.getElementById("panels"), body = document.getElementById("readings").tBodies[0];
  const name = document.getElementById("place"), drawings = [...panels.querySelectorAll("svg")];
  let at = places.length - 1;

  const read = (place) => {
    at = Math.max(0, Math.min(places.length - 1, place));
    const [x, label] = places[at];
    name.textContent = label;
    for (const drawing of drawings) {
      const guide = drawing.querySelector(".guide");
      guide.setAttribute("x1", x);
      guide.setAttribute("x2", x);
      guide.setAttribute("visibility", "visible");
      for (const dot of drawing.querySelectorAll(".dot")) dot.setAttribute("r", Number(dot.dataset.place) === at ? 4.5 : 3);
    }
    [...body.rows].forEach((row, line) => readings.forEach((panel, column) => { row.cells[column + 1].textContent = panel[line][at] ?? "–"; }));
  };

  panels.addEventListener("pointermove", (event) => {
    const drawing = event.target.closest("svg");
    if (!drawing) return;
    const box = drawing.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * drawing.viewBox.baseVal.width;
    const far = places.map(([place]) => Math.abs(place - x));
    const nearest = far.indexOf(Math.min(...far));
    if (nearest !== at) read(nearest);
  });
  panels.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -places.length, End: places.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    read(at + step);
  });
  read(at);
})();
