// Requests to the server. The key, if it asks for one, is kept while the page is open, and nowhere else.

let key = null;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function setKey(value) {
  key = value;
}

export function hasKey() {
  return key !== null;
}

// Sends a request; waits and tries again while the server has too much to do.
export async function ask(path, body, signal) {
  const headers = key === null ? {} : { "X-API-Key": key };
  const options = { headers, signal };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  for (let tries = 0; ; tries++) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused(0, "The server does not answer. Is it still running?");
    }
    if (response.status === 429 && tries < 10) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      continue;
    }
    const answer = await response.json();
    if (!response.ok) throw new Refused(response.status, answer.error);
    return answer;
  }
}

export function element(id) {
  return document.getElementById(id);
}

// Makes an element; children are elements or text, never HTML.
export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function percent(probability) {
  const shown = (100 * probability).toFixed(1);
  if (probability < 1 && shown === "100.0") return "> 99.9%";
  return probability > 0 && shown === "0.0" ? "< 0.1%" : `${shown}%`;
}

export function showProblem(error) {
  const problem = element("problem");
  problem.textContent = error === null ? "" : error.message;
  problem.hidden = error === null;
}

// Runs something that the user asked for, and shows why it failed.
export async function attempt(work) {
  showProblem(null);
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error);
    return undefined;
  }
}

export function save(name, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
