// The page: tabs, the key, and what its parts have in common.

import { describePromise } from "./answers.js";
import { prepareCheck } from "./check.js";
import { prepareFile } from "./file.js";
import { ask, attempt, element, hasKey, percent, Refused, setKey, showProblem } from "./requests.js";
import { prepareText } from "./text.js";
import { prepareTraining } from "./training.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const onOpen = {};

function openTab(tab, isFocused = true) {
  for (const each of tabs) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
    element(each.getAttribute("aria-controls")).hidden = each !== tab;
  }
  showProblem(null);
  if (isFocused) tab.focus();
  onOpen[tab.id]?.();
}

for (const [number, tab] of tabs.entries()) {
  tab.addEventListener("click", () => openTab(tab));
  tab.addEventListener("keydown", (event) => {
    const next = {
      ArrowRight: (number + 1) % tabs.length,
      ArrowLeft: (number + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    openTab(tabs[next]);
  });
}

function describe(info) {
  document.title = `${info.name}: ulmkit`;
  element("name").textContent = info.name;
  const labels = info.labels.length > 8 ? `${info.labels.length} labels` : info.labels.join(", ");
  const held = info.accuracy === null ? "" : `; ${percent(info.accuracy)} right on held-out texts`;
  element("about").textContent = labels ? `Classifies texts: ${labels}${held}.` : "Predicts a number for each text.";
  element("promise").hidden = !info.abstains;
  element("promise").textContent = info.abstains ? describePromise(info.abstains) : "";
}

async function start() {
  let info;
  try {
    info = await ask("/info");
  } catch (error) {
    if (!(error instanceof Refused && error.status === 401)) throw error;
    if (hasKey()) showProblem(new Error("The server does not accept this key. Check it for mistakes."));
    element("key-form").hidden = false;
    element("key").focus();
    return;
  }
  const state = await ask("/corrections");
  element("key-form").hidden = true;
  element("everything").hidden = false;
  describe(info);
  prepareText(info);
  const training = prepareTraining(state, describe);
  const check = prepareCheck(info, state);
  prepareFile(info, check.load, () => openTab(element("tab-check"), false));
  onOpen["tab-check"] = check.show;
  onOpen["tab-train"] = training.refresh;
  if (!info.explains) {
    element("tab-check").hidden = true;
    element("tab-train").hidden = true;
    tabs.splice(2);
  }
  if (info.task === "pair") {
    element("tab-file").hidden = true; // its texts come from one column
    tabs.splice(1);
  }
  element("to-file").addEventListener("click", (event) => {
    event.preventDefault();
    openTab(element("tab-file"));
  });
  element("text").focus();
}

element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setKey(element("key").value);
  attempt(start);
});
attempt(start);
