// Training again on the checked labels, and serving the new classifier.

import { ask, attempt, element, percent } from "./requests.js";

const SECONDS = 2;

export function prepareTraining(state, onNewClassifier) {
  let timer = null;

  function show(training) {
    const { checked, minutes } = training;
    const plural = checked === 1 ? "label is" : "labels are";
    element("train-about").textContent =
      `${checked.toLocaleString("en")} checked ${plural} in ${state.file}. ` +
      (minutes === null ? "" : `Training takes about ${minutes} ${minutes === 1 ? "minute" : "minutes"}. `) +
      "You can close this page while it runs.";
    const isRunning = training.state === "running";
    element("train-start").disabled = isRunning || !checked;
    element("train-progress").hidden = !isRunning;
    if (minutes === null) element("train-bar").removeAttribute("value");
    else element("train-bar").value = Math.min(1, training.seconds / (60 * minutes));
    element("train-use").hidden = training.state !== "done";
    element("train-message").hidden = !(training.message && training.state !== "done" && training.state !== "ready");
    element("train-message").textContent = training.message;
    const { accuracy } = training;
    const described = {
      ready: checked ? "" : "Check some labels first.",
      running: "Training is running.",
      failed: "The training failed; the last line of its log is below.",
      done: `The new classifier is ready: ${training.folder}` +
        (accuracy === null ? "." : `, ${percent(accuracy)} right on held-out texts.`),
    }[training.state];
    if (element("train-state").textContent !== described) element("train-state").textContent = described;
    clearTimeout(timer);
    if (isRunning) timer = setTimeout(refresh, 1000 * SECONDS);
  }

  async function refresh() {
    await attempt(async () => show(await ask("/training")));
  }

  element("train-off").hidden = state.trains;
  element("train-work").hidden = !state.trains;
  element("train-start").addEventListener("click", () => attempt(async () => show(await ask("/training", {}))));
  element("train-use").addEventListener("click", () =>
    attempt(async () => {
      onNewClassifier(await ask("/training/use", {}));
      element("train-use").hidden = true;
      element("train-state").textContent = "The page now uses the new classifier.";
    }),
  );
  return { refresh: () => (state.trains ? refresh() : undefined) };
}
