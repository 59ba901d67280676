// What an answer says, in words.

import { percent } from "./requests.js";

// The most probable label and its probability, also where the classifier gives no label.
export function closest({ probabilities }) {
  return Object.entries(probabilities).reduce((best, each) => (each[1] > best[1] ? each : best));
}

export function describe(answer) {
  const { label, probabilities } = answer;
  if (answer.abstained) return "Not sure";
  if (typeof label === "number") return String(label);
  if (Array.isArray(label) && Array.isArray(label[0])) return label.map(([word, each]) => `${word}: ${each}`).join(", ");
  if (Array.isArray(label)) return label.join(", ") || "no label";
  return `${label}, ${percent(probabilities[label])}`;
}

// What to make of an answer without a label.
export function describeDoubt(answer) {
  if (!answer.abstained) return "";
  const [label, probability] = closest(answer);
  const set = answer.label_set ?? [];
  const rulesSomeOut = set.length > 1 && set.length < Object.keys(answer.probabilities).length;
  const possible = rulesSomeOut ? ` It may be ${set.slice(0, -1).join(", ")} or ${set.at(-1)}.` : "";
  return `The closest label is ${label}, ${percent(probability)}: too little to rely on.${possible}`;
}

// What a classifier that can abstain promises.
export function describePromise({ max_error, certainty, coverage }) {
  const share = (part) => `${Number((100 * part).toFixed(1))}%`;
  return (
    `Where it is not sure it says so. It labels about ${share(coverage)} of texts like those it was tested on; ` +
    `at most ${share(max_error)} of these labels are wrong, with ${share(certainty)} certainty.`
  );
}
