// Where a picture is looked at: moved, zoomed, and compared with another behind a border that can be moved.

const LEAST = 0.02;
const MOST = 32;
const STEP = 1.25;

export class Stage {
  constructor($) {
    this.$ = $;
    this.box = $("stage");
    this.pointers = new Map();
    this.x = this.y = 0;
    this.zoom = 1; // CSS pixels of a picture's pixel
    this.border = 0.5; // of the stage's width
    this.fitted = true;
    $("in").onclick = () => this.zoomBy(STEP);
    $("out").onclick = () => this.zoomBy(1 / STEP);
    $("fit").onclick = () => this.fit();
    $("full").onclick = () => this.zoomBy(1 / (this.zoom * devicePixelRatio));
    this.box.onpointerdown = (event) => this.down(event);
    this.box.onpointermove = (event) => this.moved(event);
    this.box.onpointerup = this.box.onpointercancel = (event) => this.pointers.delete(event.pointerId);
    this.box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.box.ondblclick = () => (this.fitted ? $("full") : $("fit")).click();
    this.box.onkeydown = (event) => this.key(event);
    $("split").onpointerdown = (event) => this.grab(event);
    $("split").onkeydown = (event) => this.splitKey(event);
    new ResizeObserver(() => (this.fitted ? this.fit() : this.place())).observe(this.box);
  }

  clear() {
    this.canvas = undefined;
    this.endComparison();
    this.$("picture").width = this.$("picture").height = 0;
  }

  say(text) {
    this.$("status").textContent = text;
  }

  show(canvas) {
    this.canvas = canvas;
    copy(canvas, this.$("picture"));
    this.fit();
  }

  compare(original) {
    copy(original, this.$("original"));
    this.setComparison(true);
    this.border = 0.5;
    this.place();
  }

  endComparison() {
    this.setComparison(false);
  }

  setComparison(on) {
    this.$("original").hidden = this.$("split").hidden = this.$("uncompare").hidden = !on;
    for (const tag of this.box.querySelectorAll(".tag")) tag.hidden = !on;
  }

  fit() {
    if (!this.canvas) return;
    const { clientWidth, clientHeight } = this.box;
    const { width, height } = this.canvas;
    this.zoom = Math.max(LEAST, Math.min(clientWidth / width, clientHeight / height, Math.max(1 / devicePixelRatio, 96 / width)));
    this.x = (clientWidth - width * this.zoom) / 2;
    this.y = (clientHeight - height * this.zoom) / 2;
    this.place();
    this.fitted = true;
  }

  /** Keeps the point (x, y) of the stage where it is; its middle, if none is given. */
  zoomBy(factor, x = this.box.clientWidth / 2, y = this.box.clientHeight / 2) {
    if (!this.canvas) return;
    const zoom = Math.min(MOST, Math.max(LEAST, this.zoom * factor));
    this.x = x - ((x - this.x) * zoom) / this.zoom;
    this.y = y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.place();
  }

  place() {
    if (!this.canvas) return;
    this.fitted = false;
    const { clientWidth, clientHeight } = this.box;
    const { width, height } = this.canvas;
    const within = (at, own, room) => (own <= room ? (room - own) / 2 : Math.min(0, Math.max(room - own, at)));
    this.x = within(this.x, width * this.zoom, clientWidth);
    this.y = within(this.y, height * this.zoom, clientHeight);
    const sheet = this.$("sheet");
    sheet.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    sheet.classList.toggle("pixels", this.zoom * devicePixelRatio >= 2);
    this.$("scale").textContent = `${Math.round(100 * this.zoom * devicePixelRatio)} %`;
    const border = this.border * clientWidth;
    this.$("split").style.left = `${border}px`;
    this.$("split").setAttribute("aria-valuenow", Math.round(100 * this.border));
    this.$("original").style.clipPath = `inset(0 0 0 ${Math.min(width, Math.max(0, (border - this.x) / this.zoom))}px)`;
  }

  wheel(event) {
    event.preventDefault();
    const { left, top } = this.box.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    this.zoomBy(Math.exp(-event.deltaY * lines * 0.0015), event.clientX - left, event.clientY - top);
  }

  down(event) {
    this.box.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  /** One pointer moves the picture, two zoom it as well. */
  moved(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last || !this.canvas) return;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    const here = { x: event.clientX, y: event.clientY };
    this.pointers.set(event.pointerId, here);
    if (!other) {
      this.x += here.x - last.x;
      this.y += here.y - last.y;
      this.place();
      return;
    }
    const { left, top } = this.box.getBoundingClientRect();
    const spread = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    this.x += (here.x - last.x) / 2;
    this.y += (here.y - last.y) / 2;
    this.zoomBy(spread(here) / spread(last), (here.x + other.x) / 2 - left, (here.y + other.y) / 2 - top);
  }

  key(event) {
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    const buttons = { "+": "in", "=": "in", "-": "out", 0: "fit", 1: "full" };
    if (buttons[event.key]) this.$(buttons[event.key]).click();
    else if (moves[event.key] && event.target === this.box) {
      this.x += moves[event.key][0];
      this.y += moves[event.key][1];
      this.place();
    } else return;
    event.preventDefault();
  }

  grab(event) {
    event.stopPropagation();
    const split = this.$("split");
    split.setPointerCapture(event.pointerId);
    split.onpointermove = (move) => this.moveBorder((move.clientX - this.box.getBoundingClientRect().left) / this.box.clientWidth);
    split.onpointerup = split.onpointercancel = () => (split.onpointermove = null);
  }

  splitKey(event) {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.moveBorder(this.border + step);
  }

  moveBorder(to) {
    this.border = Math.min(1, Math.max(0, to));
    this.place();
  }
}

function copy(from, to) {
  to.width = from.width;
  to.height = from.height;
  to.getContext("2d").drawImage(from, 0, 0);
}
