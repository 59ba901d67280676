// Tables as text: commas, semicolons or tabs, and quotes as RFC 4180 has them. An empty line is a row with an empty cell.

const SEPARATORS = [",", ";", "\t", "|"];

const BYTE_ORDER_MARKS = { "utf-8": [0xef, 0xbb, 0xbf], "utf-16le": [0xff, 0xfe], "utf-16be": [0xfe, 0xff] };

// Reads a file's text. Without a byte order mark, bytes that are not UTF-8 are taken for Windows' western encoding.
// Programs that wrote a mark or that encoding, such as Excel, read UTF-8 only with a mark.
export function decode(bytes) {
  const start = new Uint8Array(bytes.slice(0, 3));
  const isMarked = (encoding) => BYTE_ORDER_MARKS[encoding].every((byte, place) => start[place] === byte);
  const marked = Object.keys(BYTE_ORDER_MARKS).find(isMarked);
  if (marked !== undefined) return { text: new TextDecoder(marked).decode(bytes), needsMark: true };
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), needsMark: false };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(bytes), needsMark: true };
  }
}

export function findSeparator(text) {
  const header = text.slice(0, text.search(/\r|\n|$/));
  const counts = SEPARATORS.map((separator) => header.split(separator).length - 1);
  return SEPARATORS[counts.indexOf(Math.max(...counts))];
}

export function parseTable(text, separator = findSeparator(text)) {
  const rows = [];
  let row = [];
  let cell = "";
  let isQuoted = false;
  const endRow = () => {
    row.push(cell);
    rows.push(row);
    row = [];
    cell = "";
  };
  for (let place = 0; place < text.length; place++) {
    const character = text[place];
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (text[place + 1] === '"') {
        cell += '"';
        place += 1;
      } else isQuoted = false;
    } else if (character === '"' && cell === "") isQuoted = true;
    else if (character === separator) {
      row.push(cell);
      cell = "";
    } else if (character === "\n" || character === "\r") {
      if (character === "\r" && text[place + 1] === "\n") place += 1;
      endRow();
    } else cell += character;
  }
  if (cell !== "" || row.length) endRow();
  if (isQuoted) throw new Error("The table ends inside a quoted cell: a closing quote is missing.");
  return rows;
}

export function writeTable(rows, separator = ",") {
  const write = (value) => {
    const text = String(value);
    return /["\r\n]/.test(text) || text.includes(separator) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(write).join(separator) + "\r\n").join("");
}

// The column that most looks like text: one called so, else that with the longest cells.
export function guessColumn(header, rows) {
  const named = header.findIndex((name) => /^(text|document|review|comment|message|body)$/i.test(name.trim()));
  if (named >= 0) return named;
  const lengths = header.map((_, column) =>
    rows.slice(0, 100).reduce((sum, row) => sum + (row[column] ?? "").length, 0),
  );
  return lengths.indexOf(Math.max(...lengths));
}
