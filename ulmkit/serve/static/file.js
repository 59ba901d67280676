// A file: read here, labelled in requests of a limited size, and given back as a table.

import { closest } from "./answers.js";
import { ask, attempt, element, make, percent, Refused } from "./requests.js";
import { decode, findSeparator, guessColumn, parseTable, writeTable } from "./table.js";

const TEXTS = 100; // in a request, so that progress shows and others get their turn
const UNSURE = 0.7;

const countTexts = (number) => `${number.toLocaleString("en")} ${number === 1 ? "text" : "texts"}`;

export function prepareFile(info, onLabelled, goToChecking) {
  let name = "";
  let header = [];
  let rows = [];
  let separator = ",";
  let needsMark = false; // at the start of the labelled table
  let places = []; // of the rows in the file, such as "row 7"; a spreadsheet counts the header as row 1
  let stop = null;

  async function open(file) {
    stop?.abort();
    element("file-result").hidden = true;
    element("file-options").hidden = true;
    name = file.name;
    if (!/\.(csv|tsv|txt)$/i.test(name)) {
      throw new Error(`${name}: expected a table (.csv, .tsv) or lines of text (.txt); save it as one of these.`);
    }
    const read = decode(await file.arrayBuffer());
    const { text } = read;
    needsMark = read.needsMark;
    const isLines = /\.txt$/i.test(name);
    const isTabbed = /\.tsv$/i.test(name);
    separator = isLines ? "," : isTabbed ? "\t" : findSeparator(text);
    const all = isLines ? text.split(/\r?\n/).map((line) => [line]) : parseTable(text, separator);
    const filled = [...all.keys()].filter((place) => all[place].length > 1 || all[place][0].trim());
    header = isLines ? ["text"] : all[filled.shift()] ?? [];
    rows = filled.map((place) => all[place]);
    places = filled.map((place) => `${isLines ? "line" : "row"} ${(place + 1).toLocaleString("en")}`);
    if (!rows.length) throw new Error(`${name}: expected a line with the names of the columns, and rows below it.`);
    const column = element("column");
    column.replaceChildren(...header.map((each, number) => make("option", { value: number }, each || `column ${number + 1}`)));
    column.value = guessColumn(header, rows);
    element("file-found").textContent = `${name}: ${countTexts(rows.length)}`;
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
      const sent = texts.slice(first, last);
      const { predictions } = await ask("/predict", { texts: sent }, stop.signal).catch((error) => {
        throw inFile(error, first, sent.length);
      });
      yield predictions;
      first = last;
    }
  }

  // The server names a text by its place in the request, people look for it in their file.
  function inFile(error, first, count) {
    if (!(error instanceof Refused)) return error;
    const isAlone = count === 1 && error.status === 413;
    const [named, number] = error.message.match(isAlone ? /^(?:texts\[(\d+)\]|request)/ : /^texts\[(\d+)\]/) ?? [];
    if (named === undefined) return error;
    return new Refused(error.status, `${name}, ${places[first + Number(number ?? 0)]}${error.message.slice(named.length)}`);
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
    const probability = (prediction, label = prediction.label) =>
      prediction.abstained ? closest(prediction)[1] : prediction.probabilities[label];
    const written = (label) => (Array.isArray(label) ? JSON.stringify(label) : label);
    const columns = [
      ["predicted_label", (each) => (each.abstained ? "" : written(each.label))],
    ];
    if (info.task === "single") columns.push(["probability", (each) => probability(each).toFixed(4)]);
    if (info.task === "multi") {
      const rounded = (each) => each.label.map((label) => Number(probability(each, label).toFixed(4)));
      columns.push(["probabilities", (each) => JSON.stringify(rounded(each))]);
    }
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
    download.href = URL.createObjectURL(new Blob([needsMark ? "\ufeff" : "", writeTable(table, separator)], { type: "text/csv" }));
    download.download = `${name.replace(/\.\w+$/, "")}-labelled.${separator === "\t" ? "tsv" : "csv"}`;
    const body = element("counts").tBodies[0];
    body.replaceChildren();
    const addRow = (name, its, label) => {
      const unsure = its.filter((each) => probability(each, label) < UNSURE);
      body.append(
        make("tr", {}, make("td", {}, name), ...[its.length.toLocaleString("en"), percent(its.length / texts.length),
          unsure.length.toLocaleString("en")].map((value) => make("td", { className: "number" }, value))),
      );
    };
    const hasCounts = info.task === "single" || info.task === "multi";
    for (const label of hasCounts ? info.labels : []) {
      addRow(label, predictions.filter((each) => [each.label].flat().includes(label)), label);
    }
    const unlabelled = predictions.filter((each) => each.abstained);
    if (info.abstains) addRow("not sure, no label", unlabelled);
    element("counts").hidden = !hasCounts;
    const labelled = predictions.length - unlabelled.length;
    element("file-done").textContent = unlabelled.length
      ? `${labelled.toLocaleString("en")} of ${countTexts(predictions.length)} labelled; ` +
        `the classifier is not sure of the other ${unlabelled.length.toLocaleString("en")}`
      : `${countTexts(predictions.length)} labelled`;
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

  // Beside the frame, the browser would open the file in place of this page.
  for (const type of ["dragover", "drop"]) {
    window.addEventListener(type, (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
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
