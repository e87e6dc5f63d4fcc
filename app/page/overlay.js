// Boxes, numbers and leading expressions of the faces of one row, drawn over the video.

import { EMOTIONS } from "./palette.js";
import { formatShare } from "./format.js";

const COLORS = new Map(EMOTIONS.map(({ name, color }) => [name, color]));

export class Overlay {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.places = [];
  }

  // Draw a row's faces; `size` is that of the analysed picture, to which the boxes refer.
  draw(row, size, chosen) {
    const { canvas, context } = this;
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    this.places = [];
    if (!row || !size) return;
    const picture = fit(size, { width, height });
    for (const face of row.faces) {
      const [x1, y1, x2, y2] = face.box;
      const box = {
        track: face.track,
        x: picture.x + x1 * picture.scaleX,
        y: picture.y + y1 * picture.scaleY,
        width: (x2 - x1) * picture.scaleX,
        height: (y2 - y1) * picture.scaleY,
      };
      this.places.push(box);
      drawFace(context, box, face, { isChosen: face.track === chosen, width });
    }
    // for whoever looks over the shoulder of a canvas: tests, and tools that read pages
    canvas.dataset.faces = JSON.stringify(
      row.faces.map((face) => ({ track: face.track, box: face.box, emotion: face.emotion })),
    );
    canvas.dataset.frame = String(row.frame);
  }

  clear() {
    this.draw(null, null, null);
    delete this.canvas.dataset.faces;
    delete this.canvas.dataset.frame;
  }

  // The number of the face at a point of the canvas, null where there is none.
  hit(x, y) {
    const isInside = (box) => x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height;
    return this.places.find(isInside)?.track ?? null;
  }
}

// Where a picture of this shape lies in the canvas, as `object-fit: contain` puts it.
function fit(size, area) {
  const scale = Math.min(area.width / size.width, area.height / size.height);
  const [width, height] = [size.width * scale, size.height * scale];
  return { x: (area.width - width) / 2, y: (area.height - height) / 2, scaleX: scale, scaleY: scale };
}

function drawFace(context, box, face, { isChosen, width }) {
  const color = COLORS.get(face.emotion);
  context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.75)"; // any colour stands out against a dark rim
  context.lineWidth = isChosen ? 6 : 4;
  context.strokeRect(box.x, box.y, box.width, box.height);
  context.strokeStyle = color;
  context.lineWidth = isChosen ? 3.5 : 2;
  context.strokeRect(box.x, box.y, box.width, box.height);
  const text = `${face.track}  ${face.emotion} ${formatShare(face.probabilities[face.emotion])}`;
  context.font = `${isChosen ? 600 : 500} 13px system-ui, sans-serif`;
  const labelWidth = context.measureText(text).width + 12;
  const x = Math.min(Math.max(box.x - 2, 0), Math.max(width - labelWidth, 0));
  const y = box.y >= 24 ? box.y - 22 : box.y + 2;
  context.fillStyle = "rgba(0, 0, 0, 0.78)";
  context.beginPath();
  context.roundRect(x, y, labelWidth, 20, 4);
  context.fill();
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + 10.5);
}
