"use strict";
const results = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const titles = Object.fromEntries(results.codecs.map(c => [c.name, c.title]));
const labels = { psnr_rgb: "PSNR", psnr_y: "PSNR of luma", ms_ssim: "MS-SSIM", ssimulacra2: "SSIMULACRA2", butteraugli: "Butteraugli", cvvdp: "CVVDP" };
const axes = { psnr_rgb: "PSNR of RGB, dB", psnr_y: "PSNR of luma, dB", ms_ssim: "MS-SSIM, dB", ssimulacra2: "SSIMULACRA2",
  butteraugli: "Butteraugli distance, 3-norm (smaller is better)", cvvdp: "CVVDP, JOD" };
const ours = name => name.startsWith("aecodec");
const first = results.codecs.map(c => c.name).find(ours);  // the one that the page speaks of first
const palette = ["#0072b2", "#009e73", "#cc79a7", "#8c6bd6", "#a6761d", "#56b4e9", "#b8a000", "#7f8c8d", "#e7298a", "#4d9221", "#6a51a3", "#1b9e9e", "#8c510a"];
const colours = {};
results.codecs.filter(c => !ours(c.name)).forEach((c, i) => { colours[c.name] = palette[i % palette.length]; });
for (const c of results.codecs.filter(c => ours(c.name))) colours[c.name] = "#e06100";
const percent = (v, digits = 1) => {
  const shown = Math.abs(v).toFixed(digits);
  return (+shown === 0 ? "" : v > 0 ? "+" : "\u2212") + shown;
};
let kind, anchor, metric, found;

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function table(where, head, rows) {
  const cells = head.map(h => Array.isArray(h) ? node("th", { class: h[1] }, h[0]) : node("th", {}, h));
  where.replaceChildren(node("thead", {}, node("tr", {}, ...cells)), node("tbody", {}, ...rows));
}
const cell = (text, kind = "") => node("td", { class: kind }, text);
const row = (name, ...cells) => node("tr", { class: ours(name) ? "ours" : "" }, cell(titles[name]), ...cells);
const judged = (v, error) => v == null ? cell("\u2013")
  : node("td", { class: v - (error || 0) > 0 ? "bad" : v + (error || 0) < 0 ? "good" : "" }, percent(v));
const others = () => results.codecs.map(c => c.name).filter(name => name !== anchor);
const bd = (name, of = metric) => found.bd_rates[anchor][of][name];

const seconds = v => cell(v ? (1 / v).toPrecision(2) : "\u2013");
const inOrder = () => {  // by the measure that is chosen
  const mean = (name, of) => name === anchor ? 0 : bd(name, of).summary?.mean ?? 1e9;
  const last = results.metrics[results.metrics.length - 1];
  return results.codecs.map(c => c.name).sort((a, b) => mean(a, metric) - mean(b, metric) || mean(a, last) - mean(b, last));
};

function bdTable() {
  const shown = [metric, ...results.metrics.filter(m => m !== metric)];
  table($("bd"), ["codec", ...shown.map(m => labels[m] || m), "encode, s/MP", "decode, s/MP"], inOrder().map(name => row(name, ...shown.map(m => {
    if (name === anchor) return cell("0");
    const { summary, mean_curves, trouble } = bd(name, m);
    if (!summary) return cell("\u2013");
    const made = judged(summary.mean, summary.error);
    if (summary.error != null) made.append(node("small", {}, ` \u00b1${summary.error.toFixed(1)}`));
    const curves = mean_curves == null ? trouble : `${percent(mean_curves)} %`;
    made.title = `median ${percent(summary.median)} %, mean curves ${curves}, worst ${summary.worst[0]} ${percent(summary.worst[1])} %, ` +
      `${summary.pictures} of ${summary.total} pictures`;
    return made;
  }), seconds(found.speed[name]?.encode), seconds(found.speed[name]?.decode))));
}

function reachTable() {
  const targets = found.reach[anchor] || {};
  const any = Object.values(targets).some(of => Object.values(of).some(r => r.pictures));
  $("reachsection").hidden = !any;
  table($("reach"), ["codec", ...Object.keys(targets).map(t => `SSIMULACRA2 ${t}`)], inOrder().filter(name => name !== anchor).map(name => row(name, ...Object.values(targets).map(of => {
    const { mean, error, pictures, reached, lossless, total } = of[name];
    const made = mean == null ? cell("\u2013") : judged(mean, error);
    if (error != null) made.append(node("small", {}, ` \u00b1${error.toFixed(1)}`));
    const notes = [reached < total && `${reached} of ${total} reach it`, lossless && `${lossless} without loss`].filter(Boolean);
    if (notes.length) made.append(node("small", {}, `, ${notes.join(", ")}`));
    made.title = `mean over the ${pictures} pictures at which both reach it`;
    return made;
  }))));
}

function layout(extra) {
  const style = getComputedStyle(document.documentElement), of = name => style.getPropertyValue(name).trim();
  const axis = { gridcolor: of("--line"), zerolinecolor: of("--line"), automargin: true };
  return { paper_bgcolor: of("--raised"), plot_bgcolor: of("--raised"), font: { color: of("--text"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 10, r: 10, t: 38, b: 10 }, legend: { orientation: "h", y: -0.2, font: { size: 12 } }, hoverlabel: { namelength: -1 },
    ...extra, xaxis: { ...axis, ...extra.xaxis }, yaxis: { ...axis, ...extra.yaxis } };
}
const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function curvesPlot() {
  const distance = metric === "butteraugli", sign = distance ? -1 : 1;
  const own = results.codecs.map(c => {
    const points = found.curves[metric][c.name];
    return { name: c.title, mode: "lines+markers", x: points.map(p => p.bpp), y: points.map(p => sign * p.score), text: points.map(p => `quality ${p.quality}`),
      line: { color: colours[c.name], width: c.name === first ? 3.5 : 1.8, dash: c.name.includes("@") ? "dot" : ours(c.name) && c.name !== first ? "dash" : "solid" }, marker: { size: 6 },
      hovertemplate: "%{x:.3f} bpp, %{y:.2f}, %{text}<extra>%{fullData.name}</extra>" };
  });
  const published = found.published.map(p => {
    const points = p.points.filter(q => q[metric] != null);
    return { name: p.title, mode: "lines", x: points.map(q => q.bpp), y: points.map(q => metric === "ms_ssim" ? -10 * Math.log10(1 - q.ms_ssim) : q[metric]),
      line: { color: "#8d939c", width: 1, dash: "dash" }, visible: p.shown ? "legendonly" : false, hovertemplate: "%{x:.3f} bpp, %{y:.2f}, published<extra>%{fullData.name}</extra>" };
  }).filter(t => t.x.length && t.visible);
  const rows = Math.ceil(own.length / ($("curves").clientWidth > 420 ? 2 : 1));  // of the legend, which takes its place from the plot
  for (const id of ["curves", "scatter"]) $(id).style.height = `${25 + 1.3 * rows}rem`;
  Plotly.react("curves", [...own.filter(t => t.x.length), ...published], layout({ xaxis: { title: { text: "bits per pixel" }, range: [0, 2] },
    yaxis: { title: { text: axes[metric] || metric }, autorange: distance ? "reversed" : true } }), options);
  $("curvesnote").textContent = "Means over pictures, so those that cost most weigh most. " + (published.length ? "Dashed grey curves (off; touch their names) are published figures for the same pictures, not measured here. " : "") +
    "Touch a name to hide a curve, twice to see it alone.";
}
const sides = { "top center": [0, -1], "bottom center": [0, 1], "middle right": [1, 0], "middle left": [-1, 0] };
function placed(points, texts, width, height) {  // for each text the first side of its point where it covers no other
  const boxes = points.map(([x, y]) => [x - 7, y - 7, x + 7, y + 7]);
  const covers = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  return points.map(([x, y], i) => {
    const half = 3.3 * texts[i].length, at = {};
    for (const [side, [across, down]] of Object.entries(sides)) {
      const [cx, cy] = [x + across * (half + 10), y + down * 16];
      at[side] = [cx - half, cy - 7, cx + half, cy + 7];
    }
    const free = Object.keys(at).find(side => at[side][0] > 0 && at[side][2] < width && at[side][1] > 0 && at[side][3] < height && !boxes.some(box => covers(box, at[side])));
    boxes.push(at[free || "top center"]);
    return free || "top center";
  });
}
function scatterPlot() {
  const rate = name => name === anchor ? 0 : bd(name).summary?.mean;
  const shown = results.codecs.map(c => c.name).filter(name => rate(name) != null && found.speed[name]?.encode);
  const speeds = shown.flatMap(name => Object.values(found.speed[name])).map(Math.log10), rates = shown.map(rate);
  const span = (values, share, least) => {
    const [low, high] = [Math.min(...values), Math.max(...values)], room = Math.max((high - low) * share, least);
    return [low - room, high + room];
  };
  const x = span(rates, 0.1, 5), y = span(speeds, 0.08, 0.3);
  const [width, height] = [$("scatter").clientWidth - 80, $("scatter").clientHeight - 130];  // of what the axes enclose, roughly
  const at = (name, way) => [(rate(name) - x[0]) / (x[1] - x[0]) * width, (y[1] - Math.log10(found.speed[name][way])) / (y[1] - y[0]) * height];
  const texts = shown.map(name => name.replace(/^aecodec:/, ""));
  const positions = placed(shown.map(name => at(name, "encode")), texts, width, height);
  const traces = ["encode", "decode"].map(way => ({ name: way, mode: way === "encode" ? "markers+text" : "markers", x: rates, y: shown.map(name => found.speed[name][way]),
    text: texts, textposition: positions, textfont: { size: 11 }, cliponaxis: false,
    marker: { size: 11, color: shown.map(name => colours[name]), symbol: way === "encode" ? "circle" : "diamond-open", line: { width: 2 } },
    customdata: shown.map(name => titles[name]), hovertemplate: `%{customdata}<br>${way}: %{y:.3g} MP/s, %{x:.1f} % bytes<extra></extra>` }));
  Plotly.react("scatter", traces, layout({ xaxis: { title: { text: `bytes at equal ${labels[metric] || metric}, %` }, range: x },
    yaxis: { title: { text: "megapixels per second, one thread" }, type: "log", dtick: 1, range: y } }), options);
}

let comparison;
function look() {
  const list = results.comparisons[kind] || [];
  $("viewer").hidden = !list.length;
  $("crop").replaceChildren(...list.map((c, i) => node("option", { value: i }, c.why ? `${c.title} (${c.why})` : c.title)));
  if (list.length) picture();
}
const windows = () => [$("frame"), ...$("crops").querySelectorAll("div")];  // onto the same place of every codec's crop
let centre = [0.5, 0.5];  // of what they show, in shares of the crop
function picture() {
  comparison = results.comparisons[kind][$("crop").value];
  $("why").textContent = comparison.why;
  const names = comparison.crops.map(c => c.name);
  for (const [id, wish] of [["left", $("left").value || anchor], ["right", $("right").value || names.find(ours) || names[names.length - 1]]]) {
    $(id).replaceChildren(...comparison.crops.map(c => node("option", { value: c.name }, c.title)));
    $(id).value = names.includes(wish) ? wish : names[0];
  }
  $("crops").replaceChildren(...comparison.crops.map(c => {
    const image = node("img", { src: c.data, alt: c.title, draggable: "false" });
    image.onload = () => { image.style.width = image.naturalWidth * $("scale").value + "px"; show(); };
    const window = node("div", { tabindex: "0" }, image);
    window.onscroll = () => follow(window);
    return node("figure", {}, window, node("figcaption", {}, caption(c)));
  }));
  slide();
}
function show() {
  for (const w of windows()) {
    w.scrollLeft = centre[0] * w.scrollWidth - w.clientWidth / 2;
    w.scrollTop = centre[1] * w.scrollHeight - w.clientHeight / 2;
  }
}
function follow(moved) {
  if (!moved.matches(":hover, :focus, :active")) return;  // not by hand
  const along = (start, visible, whole, now) => visible < whole ? (start + visible / 2) / whole : now;
  centre = [along(moved.scrollLeft, moved.clientWidth, moved.scrollWidth, centre[0]), along(moved.scrollTop, moved.clientHeight, moved.scrollHeight, centre[1])];
  for (const w of windows()) {
    if (w === moved) continue;
    w.scrollLeft = centre[0] * w.scrollWidth - w.clientWidth / 2;
    w.scrollTop = centre[1] * w.scrollHeight - w.clientHeight / 2;
  }
  if (moved !== $("frame")) place();
}
function caption(c) {
  const scores = Object.entries(c.scores).filter(([, v]) => v != null).map(([m, v]) => `${labels[m]} ${v.toFixed(1)}`);
  const target = comparison.crops.find(other => other.name === results.anchors[0])?.bytes;
  const unequal = target && c.bytes && Math.abs(c.bytes / target - 1) > 0.1 ? " (no nearer size)" : "";
  return [c.title, c.bytes == null ? "" : `${c.bytes.toLocaleString("en")} bytes${unequal}`, ...scores].filter(Boolean).join(", ");
}
function slide() {
  const scale = +$("scale").value;
  for (const id of ["left", "right"]) {
    const image = $(id + "image"), crop = comparison.crops.find(c => c.name === $(id).value);
    image.onload = () => { image.style.width = image.naturalWidth * scale + "px"; show(); place(); };
    image.src = crop.data;
    image.alt = crop.title;
  }
}
function place() {  // the border between left and right, at a share of what is visible
  const frame = $("frame"), visible = Math.min(frame.clientWidth, $("rightimage").offsetWidth);
  const x = frame.scrollLeft + visible * $("slider").value / 1000;
  $("leftimage").style.clipPath = `inset(0 ${$("rightimage").offsetWidth - x}px 0 0)`;
  $("handle").style.left = x - 1 + "px";
  $("handle").style.height = $("rightimage").offsetHeight + "px";
  $("slider").style.width = visible + "px";
}
$("slider").oninput = place;
$("left").onchange = $("right").onchange = slide;
$("crop").onchange = picture;
$("scale").onchange = picture;
$("next").onclick = () => { $("crop").selectedIndex = ($("crop").selectedIndex + 1) % $("crop").length; picture(); };
$("frame").onpointermove = e => {
  if (e.pointerType === "mouse" && !e.buttons) return;
  const box = $("frame").getBoundingClientRect();
  $("slider").value = 1000 * (e.clientX - box.left) / Math.min(box.width, $("rightimage").offsetWidth);
  place();
};
$("frame").ondragstart = () => false;
$("frame").onscroll = () => { follow($("frame")); place(); };
window.onresize = () => { if (comparison) { show(); place(); } };

function worstTable() {
  table($("worst"), ["codec", "mean", "median", "mean curves", "overlap", ["worst picture", "text"], ["best picture", "text"], "pictures"], others().map(name => {
    const { summary: s, mean_curves, low, high, trouble } = bd(name);
    if (!s) return row(name, cell("\u2013"), cell("\u2013"), judged(mean_curves), cell(trouble), cell(""), cell(""), cell("0"));
    const one = ([picture, v]) => cell(`${picture} ${percent(v)}`, "text");
    const range = metric === "butteraugli" && low != null ? [-high, -low] : [low, high];
    return row(name, judged(s.mean), judged(s.median), judged(mean_curves), cell(low == null ? trouble : `${range[0].toFixed(1)} to ${range[1].toFixed(1)}`),
      one(s.worst), one(s.best), cell(`${s.pictures} of ${s.total}`));
  }));
}
function pictureTable() {
  const each = bd($("codec").value)?.images || {};
  const known = found.photos.map(p => ({ p, v: each[p.name] })).sort((a, b) => (b.v ?? -1e9) - (a.v ?? -1e9));
  table($("pictures"), ["picture", "size", `against ${titles[anchor]}, %`, ["remarks", "text"]], known.map(({ p, v }) => {
    const remark = [p.note, found.excluded[metric][p.name] && "not in the means: " + found.excluded[metric][p.name]].filter(Boolean).join("; ");
    return node("tr", {}, cell(p.name), cell(`${p.width}\u00d7${p.height}`), judged(v), cell(remark, "text"));
  }));
}
function speedTable() {
  const megabytes = bytes => bytes == null ? "\u2013" : (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
  table($("speed"), ["codec", "encode, MP/s", "decode, MP/s", "encode, peak MB", "decode, peak MB"], results.codecs.map(({ name }) => row(name,
    ...["encode", "decode"].map(k => cell(found.speed[name]?.[k]?.toPrecision(3) ?? "\u2013")),
    ...["encode", "decode"].map(k => cell(megabytes(results.memory.peaks?.[name]?.[k]))))));
}
function headline() {
  const gain = results.metrics.map(m => [m, found.bd_rates[anchor][m]?.[first]?.summary]).filter(([, s]) => s);
  const count = `${found.photos.length} picture${found.photos.length === 1 ? "" : "s"}`;
  $("what").textContent = found.data_set || `${count}: ${kind}`;
  $("lead").textContent = (gain.length ? `${titles[first]} against ${titles[anchor]}, bytes at equal quality: ` + gain.map(([m, s]) => `${percent(s.mean, 0)} % by ${labels[m] || m}`).join(", ") + ". " : "") +
    `${results.codecs.length} codecs, ${results.measurements} files, each encoded, decoded to 8 bits and compared; made ${results.created} by aecodec ${results.versions.aecodec}.`;
}
function refresh() {
  found = results.kinds[kind];
  document.querySelectorAll(".anchor").forEach(e => e.textContent = titles[results.anchors[0]]);
  $("bdnote").textContent = `How many percent more bytes than ${titles[anchor]} (BD-rate), mean over pictures \u00b1 standard error: fewer are negative and green. ` +
    `PSNR counts squared errors; the other measures estimate what people see. Seconds are those of one thread. Median, mean curves and worst picture of a cell: point at it, or see below.`;
  const chosen = $("codec").value;
  $("codec").replaceChildren(...others().map(name => node("option", { value: name }, titles[name])));
  $("codec").value = others().includes(chosen) ? chosen : others().find(ours) || others()[0];
  headline(); bdTable(); reachTable(); curvesPlot(); scatterPlot(); worstTable(); pictureTable(); speedTable();
}

for (const [id, values, name] of [["kind", Object.keys(results.kinds), k => results.kinds[k].data_set || `${k} (${results.kinds[k].photos.length})`],
  ["anchor", results.anchors, a => titles[a]], ["metric", results.metrics, m => labels[m] || m]]) {
  $(id).replaceChildren(...values.map(v => node("option", { value: v }, name(v))));
}
if (results.metrics.includes("ssimulacra2")) $("metric").value = "ssimulacra2";
$("scale").value = document.documentElement.clientWidth < 800 ? 1 : 3;
[kind, anchor, metric] = [$("kind").value, $("anchor").value, $("metric").value];
$("kind").onchange = () => { kind = $("kind").value; refresh(); look(); };
$("anchor").onchange = () => { anchor = $("anchor").value; refresh(); };
$("metric").onchange = () => { metric = $("metric").value; refresh(); };
$("codec").onchange = pictureTable;
matchMedia("(prefers-color-scheme: dark)").onchange = () => { curvesPlot(); scatterPlot(); };
const machines = [...new Set(results.codecs.map(c => c.machine))];
$("speednote").textContent = "Filled: encoding, hollow: decoding; to the upper left is better. Time of the processor for one call on one thread, after one to warm up" +
  (results.jobs > 1 ? `; ${results.jobs} processes ran side by side and disturbed each other` : "") +
  (machines.length > 1 ? `; not all on the same processor (${machines.join("; ")})` : "") + ".";
if (results.memory.photo) $("memorynote").textContent = `Peak memory: by how much a fresh process grows in one call for ${results.memory.photo} (${results.memory.width}\u00d7${results.memory.height}), ` +
  "beyond the codec set up and the picture or file that it is given; a few megabytes may go unseen. Only Linux tells it. Machine: " + results.machine + ".";
table($("codecs"), ["codec", ["version", "text"], ["settings", "text"], ["why", "text"], ["processor", "text"]], results.codecs.map(c =>
  row(c.name, cell(c.version, "text"), cell(c.settings, "text"), cell(c.reason, "text"), cell(c.machine, "text"))));
const list = (title, items) => { if (items.length) $("notes").append(node("details", {}, node("summary", {}, title), node("ul", {}, ...items.map(i => node("li", {}, i))))); };
list("Not available here", Object.entries(results.missing).map(([name, reason]) => `${name}: ${reason}`));
list("What went wrong", results.problems.map(p => [p.image, p.codec, p.quality == null ? "" : `quality ${p.quality}`].filter(Boolean).join(", ") + ": " + p.reason));
list("Pictures left out of the means", Object.values(results.kinds).flatMap(k => results.metrics.flatMap(m => Object.entries(k.excluded[m]).map(([name, reason]) => `${name} (${labels[m] || m}): ${reason}`))));
list("Published figures", Object.values(results.kinds).flatMap(k => k.published).map(p => `${p.title}: ${p.source}${p.note ? " (" + p.note + ")" : ""}`));
list("How it was measured", [`command: ${results.command}`, "bits per pixel count every byte of the file; metadata are left out of all files alike, alpha too",
  `BD-rate: ${results.interpolation} interpolation of the logarithm of the rate over the scores that both curves cover`,
  ...Object.entries(results.versions).map(([name, value]) => `${name} ${value}`)]);
document.querySelector("main").hidden = false;
refresh();
look();
