// One text: its probabilities, and the words that moved them.

import { describe, describeDoubt } from "./answers.js";
import { ask, attempt, element, make, percent } from "./requests.js";
import { showRunning } from "./running.js";

const STRONGEST = 12;

// Marks the words of a text; strength is relative to the strongest word.
export function markWords(place, text, words) {
  const characters = Array.from(text); // the server counts characters, JavaScript counts halves of some
  const strongest = Math.max(1e-9, ...words.map((word) => Math.abs(word.weight ?? 0)));
  place.replaceChildren();
  let last = 0;
  for (const word of words) {
    const share = Math.abs(word.weight ?? 0) / strongest;
    if (word.start === null || word.start < last || share < 0.1) continue;
    place.append(characters.slice(last, word.start).join(""));
    const mark = make("mark", {
      className: word.weight > 0 ? "for" : "against",
      title: `${word.weight > 0 ? "+" : "−"}${Math.abs(word.weight).toFixed(2)}`,
    }, characters.slice(word.start, word.end).join(""));
    mark.style.setProperty("--strength", (0.12 + 0.38 * share).toFixed(2));
    place.append(mark);
    last = word.end;
  }
  place.append(characters.slice(last).join(""));
}

export function legend(label) {
  return [
    make("mark", { className: "for" }, "Solid lines"),
    ` speak for ${label}, `,
    make("mark", { className: "against" }, "dotted lines"),
    " against it; the stronger the colour, the more.",
  ];
}

function showBars(probabilities) {
  const sorted = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
  element("bars").replaceChildren(
    ...sorted.map(([label, probability]) => {
      const fill = make("div", { className: "fill" });
      fill.style.width = `${100 * probability}%`;
      const track = make("div", { className: "track" }, fill);
      track.setAttribute("aria-hidden", "true");
      const name = make("span", { className: "name" }, label);
      return make("div", { className: "bar" }, name, track, make("span", { className: "share" }, percent(probability)));
    }),
  );
}

export function prepareText(info) {
  let newest = 0;
  let running = null; // the curve of the last text, which is the same for every label
  element("second-field").hidden = info.task !== "pair";

  const read = () => (info.task === "pair" ? [element("text").value, element("second").value] : element("text").value);

  async function explain(text, label) {
    const request = ++newest;
    const answer = await ask("/explain", { text, label, method: element("method").value });
    if (request !== newest) return;
    showAnswer(answer);
    const select = element("explained");
    const labels = Object.entries(answer.probabilities).sort((one, other) => other[1] - one[1]);
    select.replaceChildren(...labels.map(([name]) => make("option", { value: name }, name)));
    select.value = answer.explained_label;
    markWords(element("marked"), text, answer.words);
    element("legend").replaceChildren(...legend(answer.explained_label));
    const weighed = answer.words.filter((word) => word.weight).sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
    element("strongest").tBodies[0].replaceChildren(
      ...weighed.slice(0, STRONGEST).map((word) =>
        make("tr", {}, make("td", {}, word.word), make("td", {}, word.weight > 0 ? "for" : "against"),
          make("td", { className: "number" }, word.weight.toFixed(2))),
      ),
    );
    element("explanation").hidden = false;
    if (!info.streams) return;
    if (running === null || running.text !== text) running = { text, answer: await ask("/running", { text }) };
    if (request === newest) showRunning(running.answer, answer.explained_label);
  }

  function showAnswer(answer) {
    element("verdict").textContent = describe(answer);
    element("doubt").textContent = describeDoubt(answer);
    element("doubt").hidden = !answer.abstained;
    const { probabilities } = answer;
    if (probabilities && !Array.isArray(probabilities)) showBars(probabilities);
    element("answer").hidden = false;
  }

  async function classify() {
    const text = read();
    if (!String(text).trim()) {
      element("text").focus();
      throw new Error("Type or paste a text first.");
    }
    const request = ++newest;
    running = null; // the classifier may be another one by now
    element("explanation").hidden = true;
    element("running").hidden = true; // its curve is the last text's until the new one is there
    const { predictions } = await ask("/predict", { text });
    if (request !== newest) return;
    showAnswer(predictions[0]);
    if (info.explains) await explain(text, null);
  }

  element("text-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(classify);
  });
  element("text-form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) attempt(classify);
  });
  for (const id of ["explained", "method"]) {
    element(id).addEventListener("change", () => attempt(() => explain(read(), element("explained").value)));
  }
}
