"use strict";
// One rater's way through the study. Answers stay in this browser until they are sent or downloaded.

const study = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const sends = query.has("serve"); // `swag study serve` leads to the page so
let code = "", answers = [], shownAt = 0, ready = false;

const plan = () => study.raters[code];
const place = () => `swag-study ${study.study} ${code}`;

function stored() {
  try {
    return JSON.parse(localStorage.getItem(place())) || [];
  } catch {
    return [];
  }
}

function keep() {
  try {
    localStorage.setItem(place(), JSON.stringify(answers));
  } catch {
    at("note").textContent = "This browser keeps nothing: please don't close the page before the end.";
  }
}

function show(name) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
}

function options([kind, comparison, swapped]) {
  const [first, second] = study.comparisons[comparison].options;
  const both = kind === "trial" ? [first, second] : [study.blank, first];
  return swapped ? both.reverse() : both;
}

function file({ picture }) {
  return `pictures/${study.files[picture]}`;
}

async function present(note = "") {
  const number = answers.length;
  if (number >= plan().length) return finish();
  show("trial");
  ready = false;
  at("trial").setAttribute("aria-busy", "true");
  const trial = plan()[number], asked = study.comparisons[trial[1]], [left, right] = options(trial);
  const images = [at("photograph"), at("painting"), at("left").querySelector("img"), at("right").querySelector("img")];
  const pictures = [asked.content, asked.style, left, right];
  images.forEach((image, index) => { image.src = file(pictures[index]); });
  at("progress").max = plan().length;
  at("progress").value = number;
  at("where").textContent = (trial[0] === "practice" ? "Practice, " : "") + `${number + 1} of ${plan().length}`;
  at("note").textContent = note;
  at("undo").disabled = number === 0;
  try {
    await Promise.all(images.map((image) => image.decode()));
  } catch {
    if (number === answers.length) at("note").textContent = "A picture can't be loaded. Please reload the page.";
    return;
  }
  if (number !== answers.length) return;
  ready = true;
  at("trial").setAttribute("aria-busy", "false");
  shownAt = performance.now();
  const next = plan()[number + 1];
  if (next) for (const option of options(next)) new Image().src = file(option);
}

function choose(choice) {
  if (!ready || at("trial").hidden) return;
  const number = answers.length, trial = plan()[number], [left, right] = options(trial);
  answers.push({ trial: number, left, right, choice, milliseconds: Math.round(performance.now() - shownAt) });
  keep();
  const missed = trial[0] === "practice" && (choice === "left" ? left : right).picture === study.blank.picture;
  present(missed ? "Remember: if one picture is plain grey, choose the other." : "");
}

function undo() {
  if (at("trial").hidden || !answers.length) return;
  answers.pop();
  keep();
  present();
}

async function finish() {
  show("end");
  const all = answers.length === plan().length;
  at("back").hidden = all;
  const text = JSON.stringify({ schema: study.schema, study: study.study, rater: code, answers }, null, 1);
  at("download").href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  at("download").download = `${code}.json`;
  at("sent").textContent = "Please download your answers, and give the file to those who asked you.";
  if (!sends || !all) return;
  try {
    const reply = await fetch("answers", { method: "POST", headers: { "Content-Type": "application/json" }, body: text });
    at("sent").textContent = reply.ok ? "Your answers have arrived." : await reply.text();
  } catch {
    at("sent").textContent = "Your answers could not be sent: please download them.";
  }
}

at("start").addEventListener("submit", (event) => {
  event.preventDefault();
  code = at("code").value.trim();
  if (!Object.hasOwn(study.raters, code)) {
    at("refused").textContent = `There is no code “${code}” in this study.`;
    return;
  }
  answers = stored();
  present();
});
at("left").addEventListener("click", () => choose("left"));
at("right").addEventListener("click", () => choose("right"));
at("tie")?.addEventListener("click", () => choose("tie"));
at("undo").addEventListener("click", undo);
at("stop").addEventListener("click", finish);
at("back").addEventListener("click", () => present());
document.addEventListener("keydown", (event) => {
  if (at("trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = { ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"), Backspace: undo };
  if (study.ties) action.ArrowDown = () => choose("tie");
  if (!action[event.key]) return;
  event.preventDefault();
  action[event.key]();
});
at("code").value = query.get("rater") || "";
show("welcome");
