// SentencePiece's unigram and BPE models: text into pieces, and back.

const NORMAL = 1, CONTROL = 3, UNUSED = 5, BYTE = 6; // types of pieces
const UNIGRAM = 1, BPE = 2; // types of models
const UNKNOWN_PENALTY = 10;
const SPACE = "\u2581";

// The fields of a protobuf message: [number, value], where a value is a number or bytes.
function* fields(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = view.getUint8(at++);
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint(), kind = key & 7;
    if (kind === 0) yield [key >>> 3, varint()];
    else if (kind === 5) yield [key >>> 3, view.getFloat32((at += 4) - 4, true)];
    else if (kind === 1) at += 8;
    else if (kind === 2) {
      const length = varint();
      yield [key >>> 3, bytes.subarray(at, (at += length))];
    } else throw new Error("sentencepiece.model is damaged; copy the bundle anew.");
  }
}

export class Pieces {
  // bytes: the contents of sentencepiece.model.
  constructor(bytes) {
    this.scores = new Map();
    this.longest = 1;
    const text = new TextDecoder();
    this.model = UNIGRAM;
    let least = 0;
    for (const [number, value] of fields(bytes)) {
      if (number === 2) this.model = Object.fromEntries(fields(value))[3] ?? UNIGRAM;
      if (number !== 1) continue;
      const { 1: name, 2: score = 0, 3: type = NORMAL } = Object.fromEntries(fields(value));
      if (type !== NORMAL && (type <= CONTROL || type === UNUSED || type === BYTE)) continue;
      const piece = text.decode(name);
      this.scores.set(piece, score);
      this.longest = Math.max(this.longest, [...piece].length);
      least = Math.min(least, score);
    }
    if (this.model !== UNIGRAM && this.model !== BPE)
      throw new Error("This page reads SentencePiece's unigram and BPE models only, and this is another.");
    this.unknown = least - UNKNOWN_PENALTY;
  }

  // The pieces of a text. Characters that the model does not know, one after the other, are one piece.
  encode(text) {
    const plain = text.normalize("NFKC").replace(/\s+/gu, " ").trim();
    if (plain === "") return [];
    const characters = [...(SPACE + plain.replaceAll(" ", SPACE))];
    const found = [];
    for (const piece of this.model === BPE ? this.merged(characters) : this.likeliest(characters)) {
      const known = this.scores.has(piece);
      if (!known && found.at(-1)?.known === false) found.at(-1).piece += piece;
      else found.push({ piece, known });
    }
    return found.map(({ piece }) => piece);
  }

  // The pieces that are likeliest together; of equal ones those that end in the longest, and sums in float32, as there.
  likeliest(characters) {
    const best = [{ score: 0 }];
    for (let end = 1; end <= characters.length; end++) {
      best.push({ score: -Infinity });
      for (let start = end - 1, piece = ""; start >= Math.max(0, end - this.longest); start--) {
        piece = characters[start] + piece;
        const known = this.scores.get(piece);
        if (known === undefined && start < end - 1) continue;
        const score = Math.fround(best[start].score + (known ?? this.unknown));
        if (score >= best[end].score) best[end] = { score, start, piece };
      }
    }
    const found = [];
    for (let at = characters.length; at > 0; at = best[at].start) found.unshift(best[at].piece);
    return found;
  }

  // Neighbours joined to the piece of the highest score, again and again, of equal ones the first.
  merged(characters) {
    const symbols = [...characters];
    for (;;) {
      let best = -Infinity, place = -1;
      for (let at = 0; at + 1 < symbols.length; at++) {
        const score = this.scores.get(symbols[at] + symbols[at + 1]) ?? -Infinity;
        if (score > best) [best, place] = [score, at];
      }
      if (place < 0) return symbols;
      symbols.splice(place, 2, symbols[place] + symbols[place + 1]);
    }
  }
}

// Plain text of pieces.
export const joined = (pieces) => pieces.join("").replaceAll(SPACE, " ").trim();
