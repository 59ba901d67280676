// Checking labels, a text at a time and a key each.

import { ask, attempt, element, make, percent, save } from "./requests.js";
import { writeTable } from "./table.js";
import { legend, markWords } from "./text.js";

const KEYS = "123456789abcdefghijklmnopqrtuvxy"; // s, w and z have another use

// Puts texts into the order in which they are checked.
export function inOrder(items, order) {
  const unsure = [...items].sort((one, other) => one.sure - other.sure);
  if (order === "unsure") return unsure;
  const sure = [...unsure].reverse();
  if (order === "sure") return sure;
  return items.map((_, number) => (number % 2 ? sure[(number - 1) / 2] : unsure[number / 2]));
}

export function prepareCheck(info, state) {
  let items = [];
  let queue = [];
  let place = 0;
  let isBusy = false;
  let isUnsaved = false;
  const checked = new Map(); // of all files that were labelled since the page was opened

  const current = () => queue[place];

  function sort() {
    const order = element("order").value;
    queue = [...queue.slice(0, place), ...inOrder(items.filter((item) => !queue.slice(0, place).includes(item)), order)];
  }

  function showStatus() {
    element("check-download").disabled = !checked.size;
    const corrected = [...checked].filter(([each, label]) => each.label !== label).length;
    const kept = state.saves ? `saved to ${state.file}` : isUnsaved ? "not saved yet" : "downloaded";
    element("check-status").textContent =
      `Text ${Math.min(place + 1, queue.length)} of ${queue.length}. ${checked.size} checked, ${corrected} corrected` +
      (checked.size ? `; ${kept}.` : ".");
  }

  function show() {
    const item = current();
    element("check-card").hidden = !item;
    element("check-end").hidden = Boolean(item);
    showStatus();
    if (!item) {
      element("check-end").focus();
      return;
    }
    const says = item.abstained ? "The classifier is not sure; closest is" : "The classifier says";
    element("check-guess").textContent = `${says} ${item.label}, ${percent(item.sure)}`;
    element("check-text").textContent = item.text;
    element("check-text").scrollTop = 0;
    element("check-text").tabIndex = 0;
    element("check-back").disabled = place === 0;
    element("check-labels").replaceChildren(
      ...info.labels.map((label, number) => {
        const button = make("button", {}, label);
        if (number < KEYS.length) button.prepend(make("kbd", {}, KEYS[number].toUpperCase()), " ");
        if (label === item.label) button.classList.add("guessed");
        if (checked.has(item)) button.setAttribute("aria-pressed", String(checked.get(item) === label));
        button.addEventListener("click", () => decide(label));
        return button;
      }),
    );
    element("check-card").focus();
    showWords(item);
  }

  async function showWords(item) {
    const isOn = element("check-words").getAttribute("aria-pressed") === "true";
    element("check-legend").hidden = !isOn;
    if (!isOn) return;
    await attempt(async () => {
      item.words ??= (await ask("/explain", { text: item.text })).words;
      if (item !== current()) return;
      markWords(element("check-text"), item.text, item.words);
      element("check-legend").replaceChildren(...legend(item.label));
    });
  }

  // One change after the other: a key that is held down must not skip texts.
  async function change(work) {
    if (isBusy) return;
    isBusy = true;
    await attempt(work);
    isBusy = false;
  }

  function decide(label) {
    return change(async () => {
      const item = current();
      if (!item) return;
      if (state.saves) Object.assign(state, await ask("/corrections", { text: item.text, label }));
      checked.set(item, label);
      isUnsaved = !state.saves;
      place += 1;
      show();
    });
  }

  function back() {
    return change(async () => {
      if (place === 0) return;
      const item = queue[place - 1];
      if (checked.has(item) && state.saves) Object.assign(state, await ask("/corrections", { text: item.text, label: null }));
      isUnsaved = checked.delete(item) ? !state.saves : isUnsaved;
      place -= 1;
      show();
    });
  }

  function skip() {
    if (!current()) return;
    place += 1;
    show();
  }

  function toggleWords() {
    const button = element("check-words");
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    element("check-text").textContent = current().text;
    showWords(current());
  }

  document.addEventListener("keydown", (event) => {
    const isElsewhere = element("panel-check").hidden || element("check-work").hidden;
    const isTyping = event.target.matches("select, textarea, input");
    if (isElsewhere || isTyping || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const pressed = event.key.toLowerCase();
    const label = info.labels[KEYS.indexOf(pressed)];
    if (pressed.length === 1 && KEYS.includes(pressed) && label !== undefined) decide(label);
    else if (pressed === "enter" && !event.target.matches("button, a") && current()) decide(current().label);
    else if (pressed === "z") back();
    else if (pressed === "s") skip();
    else if (pressed === "w" && current()) toggleWords();
    else return;
    event.preventDefault();
  });
  element("check-back").addEventListener("click", back);
  element("check-skip").addEventListener("click", skip);
  element("check-words").addEventListener("click", toggleWords);
  element("check-download").addEventListener("click", () => {
    const labels = new Map([...checked].map(([item, label]) => [item.text, label])); // a text of two files has one
    save("labels.csv", writeTable([["text", "label"], ...labels]));
    isUnsaved = false;
    showStatus();
  });
  window.addEventListener("beforeunload", (event) => {
    if (isUnsaved && checked.size) event.preventDefault();
  });
  element("order").addEventListener("change", () => {
    sort();
    show();
    element("order").focus();
  });

  return {
    load(labelled) {
      items = labelled.filter((item) => item.text.trim());
      queue = [];
      place = 0;
      sort();
      element("check-empty").hidden = items.length > 0;
      element("check-work").hidden = items.length === 0;
    },
    show() {
      if (items.length) show();
    },
  };
}
