"use strict";

const SHOWN_ROWS = 200;
const form = document.getElementById("row");
const answer = document.getElementById("answer");
const drop = document.getElementById("drop");
const file = document.getElementById("file");
const summary = document.getElementById("summary");
const results = document.getElementById("results");
const RULES = {
  missing: "This is needed.",
  not_allowed: "This is not one of the values allowed.",
  out_of_range: "This lies outside of what is allowed.",
  type: "This is no number, or not a whole one.",
  not_finite: "This is no finite number.",
};

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

function problemText(problem) {
  return problem.detail || problem.title || "The server could not answer.";
}

async function ask(url, options) {
  try {
    const response = await fetch(url, options);
    const failed = !response.ok;
    return { response, problem: failed ? await response.json().catch(() => ({})) : null };
  } catch {
    return { response: null, problem: { detail: "The server can't be reached." } };
  }
}

// One row

function showError(input, text) {
  document.getElementById(`error-${input.name}`).textContent = text;
  input.setAttribute("aria-invalid", text ? "true" : "false");
}

function valueOf(input) {
  const text = input.value.trim();
  if (input.dataset.type === "string") return text || null;
  return text === "" ? null : Number(text);
}

function complaint(input) {
  const { validity } = input;
  if (validity.valid) return "";
  if (validity.badInput || validity.stepMismatch) return RULES.type;
  if (validity.valueMissing) return RULES.missing;
  if (validity.rangeUnderflow || validity.rangeOverflow) return `This is to be ${input.min} to ${input.max}.`;
  return RULES.not_allowed;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  answer.replaceChildren();
  const inputs = [...form.elements].filter((input) => input.name);
  inputs.forEach((input) => showError(input, complaint(input)));
  const wrong = inputs.find((input) => input.getAttribute("aria-invalid") === "true");
  if (wrong) {
    wrong.focus();
    return;
  }
  const row = Object.fromEntries(inputs.map((input) => [input.name, valueOf(input)]));
  row[form.dataset.key] = JSON.parse(form.dataset.keyValue);
  const { response, problem } = await ask("predict", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(row),
  });
  if (problem) {
    (problem.rejects || []).forEach(({ column, rule }) => {
      const input = form.elements.namedItem(column);
      if (input) showError(input, RULES[rule] || rule);
    });
    answer.append(element("p", problemText(problem), { class: "note bad" }));
    return;
  }
  const prediction = await response.json();
  const [label, probability] = Object.entries(prediction).filter(([name]) => name !== form.dataset.key);
  const percent = (100 * probability[1]).toFixed(1);
  const { positive, negative, eventLabel, measure } = answer.dataset;
  const verdict = label[1] === JSON.parse(eventLabel) ? positive : negative;
  const meterLabel = measure[0].toUpperCase() + measure.slice(1);
  answer.append(
    element("p", `${verdict}: ${measure} ${percent} %`, { class: "verdict" }),
    element("meter", `${percent} %`, { min: 0, max: 1, value: probability[1], "aria-label": meterLabel }),
  );
});

form.addEventListener("input", ({ target }) => showError(target, ""));

// A file

function rowsOf(csv) {
  const rows = [[]];
  for (const [, quoted, plain, end] of csv.trimEnd().matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/g)) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "\n") rows.push([]);
    if (end === "") break;
  }
  return rows;
}

function fillTable(id, text) {
  const [head, ...rows] = rowsOf(text);
  const table = document.getElementById(id);
  const headRow = document.createElement("tr");
  headRow.append(...head.map((name) => element("th", name, { scope: "col" })));
  const body = rows.slice(0, SHOWN_ROWS).map((fields) => {
    const row = document.createElement("tr");
    row.append(...fields.map((field) => element("td", field)));
    return row;
  });
  const thead = document.createElement("thead");
  const tbody = document.createElement("tbody");
  thead.append(headRow);
  tbody.append(...body);
  table.replaceChildren(thead, tbody);
  return rows;
}

function offer(id, blob, there) {
  const link = document.getElementById(id);
  if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(blob);
  link.hidden = !there;
}

async function scoreFile(chosen) {
  results.hidden = true;
  summary.replaceChildren(element("p", `Scoring ${chosen.name} …`, { class: "note" }));
  const { response, problem } = await ask("predict?rejects=allow", {
    method: "POST",
    headers: { "Content-Type": "text/csv", Accept: "text/csv" },
    body: chosen,
  });
  if (problem) {
    summary.replaceChildren(element("p", problemText(problem), { class: "note bad" }));
    return;
  }
  const parts = await response.formData();
  const [predictions, rejects] = [parts.get("predictions"), parts.get("rejects")];
  const scored = fillTable("predictions", await predictions.text()).length;
  const rejected = new Set(fillTable("rejects", await rejects.text()).map(([row]) => row)).size;
  offer("get-predictions", predictions, true);
  offer("get-rejects", rejects, rejected > 0);
  document.getElementById("rejects-part").hidden = rejected === 0;
  const shown = scored > SHOWN_ROWS ? ` The first ${SHOWN_ROWS} are shown.` : "";
  const text = `${chosen.name}: ${scored} rows scored, ${rejected} rejected.${shown}`;
  summary.replaceChildren(element("p", text, { class: "note" }));
  results.hidden = false;
}

file.addEventListener("change", () => file.files.length && scoreFile(file.files[0]));
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) scoreFile(event.dataTransfer.files[0]);
});
