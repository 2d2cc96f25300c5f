// A bundle of scripts/export_onnx.py in the browser: the same graphs and the same beam search as sret-translate's.

import { Pieces, joined } from "./pieces.js";

const FORMAT = "sret_translate", VERSION = 2;
const PAD = 1, EOS = 2, UNKNOWN = 3; // fairseq's numbers
const LONGEST = (source) => 2 * source + 10; // tokens of a translation at most, by those of the source and its end

const int64 = (ort, values, shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
const float = (ort, values, shape) => new ort.Tensor("float32", values, shape);

export class Translator {
  // ort: the module onnxruntime-web. folder: the bundle's address. Throws an Error whose message is one sentence.
  static async load(ort, folder) {
    const translator = new Translator(ort, folder);
    const config = await translator.file("config.json").then((text) => text.json()).catch(() => null);
    if (config?.format !== FORMAT) throw new Error(`${folder} is no bundle; put one there, see README.md.`);
    if (config.version !== VERSION)
      throw new Error(`This is a bundle of version ${config.version}, and the page reads version ${VERSION}.`);
    if (config.segmentation !== "sentencepiece")
      throw new Error("This bundle has no SentencePiece model; export it with --sentencepiece.");
    translator.config = config;
    const names = async (name) => (await (await translator.file(name)).text()).replace(/\n$/, "").split("\n");
    translator.target = await names("target.txt");
    translator.numbers = new Map((await names("source.txt")).map((symbol, number) => [symbol, number]));
    const bytes = async (name) => new Uint8Array(await (await translator.file(name)).arrayBuffer());
    translator.pieces = new Pieces(await bytes("sentencepiece.model"));
    translator.weights = await bytes("weights.bin");
    return translator;
  }

  constructor(ort, folder) {
    Object.assign(this, { ort, folder, sessions: new Map() });
  }

  async file(name) {
    const answer = await fetch(`${this.folder}/${name}`);
    if (!answer.ok) throw new Error(`${this.folder}/${name} is missing; copy the bundle anew.`);
    return answer;
  }

  // The numbers of passes that can be chosen, in rising order.
  get depths() {
    return Object.keys(this.config.passes).map(Number).sort((a, b) => a - b);
  }

  // The encoder and the decoder's step for a number of passes.
  async graphs(passes) {
    if (!this.sessions.has(passes)) {
      const options = { executionProviders: ["wasm"], externalData: [{ path: "weights.bin", data: this.weights }] };
      const create = (name) => this.ort.InferenceSession.create(`${this.folder}/${name}`, options);
      const [encoder, decoder] = this.config.passes[passes];
      this.sessions.set(passes, [await create(encoder), await create(decoder)]);
    }
    return this.sessions.get(passes);
  }

  // The hypotheses of a sentence, best first: [{text, score}]; null once ``cancelled()``.
  async translate(sentence, { passes = this.depths.at(-1), beam = 5, cancelled = () => false } = {}) {
    const tokens = this.pieces.encode(sentence).map((piece) => this.numbers.get(piece) ?? UNKNOWN);
    if (tokens.length === 0) return [];
    if (tokens.length >= this.config.max_source_positions) throw new Error("This sentence is too long for the model.");
    const [encoder, decoder] = await this.graphs(passes);
    const limit = Math.min(LONGEST(tokens.length + 1), this.config.max_target_positions - 1);
    const search = new Search(this.ort, decoder, beam, limit);
    const source = int64(this.ort, [...tokens, EOS], [1, tokens.length + 1]);
    const found = await search.run(await encoder.run({ tokens: source }), cancelled);
    return found?.map(({ tokens, score }) => ({ text: joined(tokens.map((token) => this.target[token])), score }));
  }
}

// The beam search of one sentence. Like fairseq's it ends once as many hypotheses have ended as there are beams.
class Search {
  constructor(ort, decoder, beam, limit) {
    Object.assign(this, { ort, decoder, beam, limit, found: [], slots: (limit + 1) * beam });
    const inputs = decoder.inputMetadata;
    this.vocabulary = inputs.find(({ name }) => name === "token_bias").shape[1];
    this.caches = {};
    for (const { name, shape } of inputs.filter(({ name }) => /^(keys|values)_/.test(name))) {
      const size = [1, 1, shape[2], this.slots, shape[4]];
      this.caches[name] = float(ort, new Float32Array(size.reduce((a, b) => a * b)), size);
    }
    this.names = new Set(inputs.map(({ name }) => name));
    this.hypotheses = Array.from({ length: beam }, (_, number) => ({ score: number ? -Infinity : 0, tokens: [], past: [] }));
  }

  async run(encoded, cancelled) {
    this.encoded = Object.fromEntries(Object.entries(encoded).filter(([name]) => this.names.has(name)));
    for (let step = 0; step <= this.limit && this.found.length < this.beam; step++) {
      if (cancelled()) return null;
      this.advance(await this.candidates(step), step);
    }
    return this.found.sort((a, b) => b.score - a.score);
  }

  // The best continuations, best first: [{score, token, beam}].
  async candidates(step) {
    const { ort, beam, slots, hypotheses } = this;
    const visible = new Uint8Array(beam * slots); // which slots of the caches hold a hypothesis' own past
    hypotheses.forEach(({ past }, number) => [...past, number].forEach((of, at) => {
      visible[number * slots + at * beam + of] = 1;
    }));
    const optional = this.names.has("written") && {
      written: int64(ort, Array.from({ length: slots }, (_, slot) => Math.floor(slot / beam)), [1, slots]),
    };
    const outputs = await this.decoder.run(
      {
        ...this.encoded, ...this.caches, ...optional,
        tokens: int64(ort, hypotheses.map(({ tokens }) => tokens.at(-1) ?? EOS), [1, beam]),
        scores: float(ort, Float32Array.from(hypotheses, ({ score }) => score), [1, beam]),
        step: int64(ort, [step], [1]),
        new_slots: int64(ort, hypotheses.map((_, number) => step * beam + number), [1, beam]),
        visible: new ort.Tensor("bool", visible, [1, beam, slots]),
        token_bias: float(ort, this.bias(step), [1, this.vocabulary]),
        candidates: int64(ort, [2 * beam], [1]),
      },
      this.decoder.outputNames.filter((name) => name !== "log_probabilities"),
    );
    for (const name of Object.keys(this.caches)) this.caches[name] = outputs[`new_${name}`];
    const [scores, tokens, beams] = ["scores", "tokens", "beams"].map((name) => outputs[`candidate_${name}`].data);
    return Array.from(scores, (score, at) => ({ score, token: Number(tokens[at]), beam: Number(beams[at]) }));
  }

  // No padding, no empty translation, and at the limit nothing but the end.
  bias(step) {
    const last = step === this.limit;
    const bias = new Float32Array(this.vocabulary).fill(last ? -Infinity : 0);
    bias[PAD] = -Infinity;
    bias[EOS] = step === 0 ? -Infinity : 0;
    return bias;
  }

  // Take the hypotheses that end among the best candidates, and go on with the best that do not.
  advance(candidates, step) {
    const ends = ({ token, score }) => token === EOS && score > -Infinity;
    for (const { score, beam } of candidates.slice(0, this.beam).filter(ends))
      if (this.found.length < this.beam)
        this.found.push({ tokens: this.hypotheses[beam].tokens, score: score / (step + 1) });
    const going = [...candidates.filter((one) => !ends(one)), ...candidates.filter(ends)].slice(0, this.beam);
    this.hypotheses = going.map(({ score, token, beam }) => {
      const { tokens, past } = this.hypotheses[beam];
      return { score, tokens: [...tokens, token], past: [...past, beam] };
    });
  }
}
