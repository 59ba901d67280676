// A file: read here, labelled in requests of a limited size, and given back as a table.

import { closest } from "./answers.js";
import { ask, attempt, element, make, percent } from "./requests.js";
import { decode, guessColumn, parseTable, writeTable } from "./table.js";

const TEXTS = 100; // in a request, so that progress shows and others get their turn
const UNSURE = 0.7;

export function prepareFile(info, onLabelled, goToChecking) {
  let name = "";
  let header = [];
  let rows = [];
  let stop = null;

  async function open(file) {
    element("file-result").hidden = true;
    element("file-options").hidden = true;
    const text = decode(await file.arrayBuffer());
    name = file.name;
    if (/\.txt$/i.test(name)) {
      header = ["text"];
      rows = text.split(/\r?\n/).filter((line) => line.trim()).map((line) => [line]);
    } else [header = [], ...rows] = parseTable(text, /\.tsv$/i.test(name) ? "\t" : undefined);
    if (!rows.length) throw new Error(`${name}: expected a line with the names of the columns, and rows below it.`);
    const column = element("column");
    column.replaceChildren(...header.map((each, number) => make("option", { value: number }, each || `column ${number + 1}`)));
    column.value = guessColumn(header, rows);
    element("file-found").textContent = `${name}: ${rows.length.toLocaleString("en")} texts`;
    element("file-options").hidden = false;
    element("label-file").focus();
  }

  async function* requests(texts) {
    const characters = Math.min(info.limits.max_bytes / 8, 500000);
    let first = 0;
    while (first < texts.length) {
      let last = first;
      let size = 0;
      do size += texts[last++].length;
      while (last < texts.length && last - first < Math.min(TEXTS, info.limits.max_texts) && size + texts[last].length < characters);
      const { predictions } = await ask("/predict", { texts: texts.slice(first, last) }, stop.signal);
      yield predictions;
      first = last;
    }
  }

  async function label() {
    const column = Number(element("column").value);
    const texts = rows.map((row) => row[column] ?? "");
    const predictions = [];
    stop = new AbortController();
    element("file-progress").hidden = false;
    element("file-result").hidden = true;
    element("label-file").disabled = true;
    try {
      for await (const some of requests(texts)) {
        predictions.push(...some);
        element("progress").value = predictions.length / texts.length;
      }
    } finally {
      element("file-progress").hidden = true;
      element("label-file").disabled = false;
    }
    show(texts, predictions);
  }

  function show(texts, predictions) {
    const probability = (prediction) =>
      prediction.abstained ? closest(prediction)[1] : prediction.probabilities?.[prediction.label];
    const written = (label) => (Array.isArray(label) ? JSON.stringify(label) : label);
    const columns = [
      ["predicted_label", (each) => (each.abstained ? "" : written(each.label))],
      ["probability", (each) => probability(each)?.toFixed(4) ?? ""],
    ];
    if (info.abstains) columns.push(["abstained", (each) => (each.abstained ? "not sure" : "")]);
    if (info.miscoverage !== null) columns.push(["label_set", (each) => written(each.label_set)]);
    const table = [
      [...header, ...columns.map(([title]) => title)],
      ...rows.map((row, number) => [
        ...header.map((_, place) => row[place] ?? ""),
        ...columns.map(([, value]) => value(predictions[number])),
      ]),
    ];
    const download = element("download");
    URL.revokeObjectURL(download.href);
    download.href = URL.createObjectURL(new Blob([writeTable(table)], { type: "text/csv" }));
    download.download = `${name.replace(/\.\w+$/, "")}-labelled.csv`;
    const body = element("counts").tBodies[0];
    body.replaceChildren();
    const addRow = (name, its) => {
      const unsure = its.filter((each) => probability(each) < UNSURE);
      body.append(
        make("tr", {}, make("td", {}, name), ...[its.length.toLocaleString("en"), percent(its.length / texts.length),
          unsure.length.toLocaleString("en")].map((value) => make("td", { className: "number" }, value))),
      );
    };
    for (const label of info.labels) {
      addRow(label, predictions.filter((each) => each.label === label || (Array.isArray(each.label) && each.label.includes(label))));
    }
    const unlabelled = predictions.filter((each) => each.abstained);
    if (info.abstains) addRow("not sure, no label", unlabelled);
    element("counts").hidden = !info.labels.length;
    const count = (number) => number.toLocaleString("en");
    element("file-done").textContent = unlabelled.length
      ? `${count(predictions.length - unlabelled.length)} of ${count(predictions.length)} texts are labelled; ` +
        `the classifier is not sure of the other ${count(unlabelled.length)}`
      : `${count(predictions.length)} texts are labelled`;
    element("file-result").hidden = false;
    element("file-done").focus();
    element("to-check").hidden = !info.explains;
    if (info.explains) {
      onLabelled(
        texts.map((text, number) => {
          const prediction = predictions[number];
          const [label, sure] = closest(prediction);
          return { text, label, sure, abstained: prediction.abstained };
        }),
      );
    }
  }

  const drop = element("drop");
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) attempt(() => open(event.dataTransfer.files[0]));
  });
  element("file").addEventListener("change", (event) => {
    if (event.target.files.length) attempt(() => open(event.target.files[0]));
  });
  element("label-file").addEventListener("click", () => attempt(label));
  element("stop-file").addEventListener("click", () => stop.abort());
  element("to-check").addEventListener("click", goToChecking);
}
