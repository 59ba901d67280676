// The probabilities of a text while it is read, as a curve.

import { element, make, percent } from "./requests.js";

const WIDTH = 640;
const LEFT = 48;
const TOP = 10;
const BOTTOM = 110;

function draw(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const height = (share) => BOTTOM - (BOTTOM - TOP) * share;

// Draws the probability of a label after each word; points come from the server.
export function showRunning(answer, label) {
  const { points, words } = answer;
  const figure = element("running");
  figure.hidden = words < 2;
  if (figure.hidden) return;
  const shares = points.map((point) => point.probabilities[label]);
  const x = (read) => LEFT + ((WIDTH - LEFT) * (read - 1)) / (words - 1);
  const curve = points.map((point, place) => `${x(point.read).toFixed(1)},${height(shares[place]).toFixed(1)}`).join(" ");
  const described = `${percent(shares[0])} at first, between ${percent(Math.min(...shares))} and ` +
    `${percent(Math.max(...shares))}, ${percent(shares.at(-1))} at the end`;
  const svg = draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${BOTTOM + 24}`, role: "img", "aria-label": `Probability of ${label}: ${described}` },
    ...[0, 0.5, 1].flatMap((share) => [
      draw("line", { x1: LEFT, x2: WIDTH, y1: height(share), y2: height(share), class: "rule" }),
      draw("text", { x: LEFT - 8, y: height(share) + 4, "text-anchor": "end" }, `${100 * share}%`),
    ]),
    draw("polyline", { points: curve }),
    draw("text", { x: LEFT, y: BOTTOM + 20 }, "first word"),
    draw("text", { x: WIDTH, y: BOTTOM + 20, "text-anchor": "end" }, `word ${words}`),
  );
  figure.replaceChildren(svg, make("figcaption", { className: "quiet" }, `Probability of ${label} as the text is read`));
}
