// The page: translates what is typed, as it is typed.

import * as ort from "./onnxruntime-web/ort.wasm.bundle.min.mjs";
import { Translator } from "./translator.js";

const part = (name) => document.getElementById(name);
const element = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
const times = new Map();
let translator, latest = 0, busy = Promise.resolve();

function say(sentence, wrong = false) {
  part("status").textContent = sentence;
  part("status").classList.toggle("error", wrong);
}

function show(hypotheses) {
  part("translation").textContent = hypotheses[0]?.text ?? "";
  part("alternatives").replaceChildren(...hypotheses.slice(1).map(({ text, score }) => {
    const item = element("li", `${text} `);
    item.append(element("small", score.toFixed(2)));
    return item;
  }));
}

function showTimes() {
  const rows = [...times].sort(([a], [b]) => a - b).map(([passes, milliseconds]) => {
    const row = element("tr", "");
    row.append(element("td", passes), element("td", milliseconds.toFixed(0)));
    return row;
  });
  part("times").replaceChildren(...rows);
}

// Translate what stands there now, unless more has been typed when its turn comes.
function translate() {
  const mine = ++latest, cancelled = () => mine !== latest;
  busy = busy.then(async () => {
    if (cancelled()) return;
    const passes = translator.depths[part("passes").value];
    await translator.graphs(passes); // loading is not translating
    const start = performance.now();
    const found = await translator.translate(part("source").value, { passes, cancelled });
    if (found === null) return;
    if (found.length) times.set(passes, performance.now() - start);
    show(found);
    showTimes();
    say("Ready.");
  }).catch((error) => say(error.message, true));
}

function showPasses() {
  part("passes-shown").textContent = translator.depths[part("passes").value];
}

async function start() {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: new URL("onnxruntime-web/ort-wasm-simd-threaded.wasm", location.href).href };
  const folder = new URLSearchParams(location.search).get("bundle") ?? "bundle";
  translator = await Translator.load(ort, new URL(folder, location.href).href);
  await translator.graphs(translator.depths.at(-1));
  const [source, target] = translator.config.languages;
  part("source-language").textContent = source ? ` (${source})` : "";
  part("target-language").textContent = target ? ` (${target})` : "";
  part("passes").max = part("passes").value = translator.depths.length - 1;
  part("depth").hidden = translator.depths.length < 2;
  showPasses();
  part("source").disabled = false;
  part("source").focus();
  say("Ready.");
  part("source").addEventListener("input", translate);
  part("passes").addEventListener("input", () => { showPasses(); translate(); });
  if (part("source").value) translate();
}

start().catch((error) => say(error.message, true));
