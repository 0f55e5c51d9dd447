// A pad on which a digit is drawn, with sample digits for those who cannot draw.

const SIDE = 256; // of the pad, in CSS pixels
const PEN = 20;
const SENT = 64; // a drawing goes to the kernel with so many numbers on each side
const STYLE = `
.pad { display: grid; grid-template-columns: auto 1fr; gap: 0.6em 1em; width: fit-content;
  max-width: 100%; align-items: start }
.pad canvas { background: #fff; border-radius: 6px; border: 1px solid #888 }
.pad-ink { touch-action: none; cursor: crosshair; max-width: 100% }
.pad figure { margin: 0 }
.pad-seen { image-rendering: pixelated; width: 112px; height: 112px }
.pad-row { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 0.4em }
.pad button { min-width: 44px; min-height: 32px; padding: 3px; font: inherit;
  color: inherit; background: transparent; border: 1px solid #888; border-radius: 6px;
  cursor: pointer }
.pad button canvas { display: block; width: 28px; height: 28px; border: 0;
  image-rendering: pixelated; pointer-events: none; margin: auto }
.pad button:focus-visible { outline: 3px solid #0072b2 }`;

/** Paint 28 by 28 numbers, from 0 for paper to 255 for ink, over a whole canvas. */
function paint(canvas, bytes) {
  const side = Math.round(Math.sqrt(bytes.length));
  const image = new ImageData(side, side);
  bytes.forEach((ink, i) => image.data.set([255 - ink, 255 - ink, 255 - ink, 255], 4 * i));
  const small = new OffscreenCanvas(side, side);
  small.getContext("2d").putImageData(image, 0, 0);
  canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
}

function render({ model, el }) {
  const make = (tag, attributes, parent) =>
    parent.appendChild(Object.assign(document.createElement(tag), attributes));
  const bytesOf = (name) => {
    const { buffer, byteOffset, byteLength } = model.get(name);
    return new Uint8Array(buffer, byteOffset, byteLength);
  };
  make("style", { textContent: STYLE }, el);
  const root = make("div", { className: "pad" }, el);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", model.get("description"));
  const ink = make("canvas", { className: "pad-ink", width: SIDE, height: SIDE }, root);
  ink.setAttribute("role", "img");
  ink.setAttribute("aria-label", "Draw a digit here, with the mouse or a finger");
  const beside = make("figure", {}, root);
  const seen = make("canvas", { className: "pad-seen", width: 28, height: 28 }, beside);
  seen.setAttribute("aria-hidden", "true");
  make("figcaption", { textContent: "28 by 28" }, beside);
  const row = make("div", { className: "pad-row" }, root);

  const pen = ink.getContext("2d", { willReadFrequently: true });
  const wipe = () => {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, SIDE, SIDE);
  };
  Object.assign(pen, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  wipe();

  const clear = make("button", { textContent: "Clear", title: "Clear the pad" }, row);
  clear.addEventListener("click", () => {
    wipe(); // also a drawing not yet sent to the kernel
    model.send({ kind: "clear" });
  });
  const names = model.get("names");
  const samples = bytesOf("samples");
  const sample = (i) => samples.subarray(784 * i, 784 * (i + 1));
  names.forEach((name, i) => {
    const button = make("button", { title: `Sample ${name}` }, row);
    button.setAttribute("aria-label", `Sample ${name}`);
    paint(make("canvas", { width: 28, height: 28 }, button), sample(i));
    button.addEventListener("click", () => {
      paint(ink, sample(i)); // although the kernel may have it already
      model.send({ kind: "sample", index: i });
    });
  });

  let last = null;
  const place = (event) => {
    const box = ink.getBoundingClientRect();
    const scale = SIDE / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  const draw = (event) => {
    if (last === null) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      pen.beginPath();
      pen.moveTo(...last);
      pen.lineTo(...(last = place(each)));
      pen.stroke();
    }
  };
  ink.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    ink.setPointerCapture(event.pointerId);
    last = place(event);
    pen.beginPath(); // a dot, should the pen not move
    pen.moveTo(...last);
    pen.lineTo(...last);
    pen.stroke();
  });
  ink.addEventListener("pointermove", draw);
  const lift = () => {
    if (last === null) return;
    last = null;
    const small = new OffscreenCanvas(SENT, SENT).getContext("2d");
    small.imageSmoothingQuality = "high";
    small.drawImage(ink, 0, 0, SENT, SENT);
    const { data } = small.getImageData(0, 0, SENT, SENT);
    const numbers = Uint8Array.from({ length: SENT ** 2 }, (_, i) => 255 - data[4 * i]);
    model.send({ kind: "ink" }, undefined, [numbers.buffer]);
  };
  ink.addEventListener("pointerup", lift);
  ink.addEventListener("pointercancel", lift);

  const update = () => paint(seen, bytesOf("seen"));
  // Reset, or another view of this pad, may choose a sample too. A drawing is here
  // already, and a stroke that goes on is not painted over.
  const follow = () => {
    const value = model.get("value");
    if (last !== null) return;
    if (value === "") wipe();
    else if (names.includes(value)) paint(ink, sample(names.indexOf(value)));
  };
  model.on("change:seen", update);
  model.on("change:value", follow);
  update();
  paint(ink, bytesOf("seen"));
  return () => {
    model.off("change:seen", update);
    model.off("change:value", follow);
  };
}

export default { render };
